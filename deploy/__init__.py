"""Prefect's side of an environment: its deployments, and the work pool's template."""
