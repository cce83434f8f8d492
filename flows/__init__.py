"""Flows: orchestration only, each read from top to bottom like a runbook."""
