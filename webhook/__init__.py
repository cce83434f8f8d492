"""The GitHub receiver: a pushed version tag becomes one flow run of the environment's release deployment."""
