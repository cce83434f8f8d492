"""Adapters: each knows one outside system, takes clients and values, and knows nothing of a run."""
