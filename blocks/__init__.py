"""Prefect blocks: credentials, and what ties them to an environment."""
