"""Migration engines: each knows one tool's files, its own table and its errors."""
