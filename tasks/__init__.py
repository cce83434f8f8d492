"""Prefect tasks: each a step of a run, over the adapters in `systems`."""
