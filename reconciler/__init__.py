"""The process that watches the records, and asks Prefect to run `reconcile` where a run has died."""
