"""The embedded default: real parts on one machine, started and stopped by one command."""
