"""Thin Prefect tasks, one module an outside system."""
