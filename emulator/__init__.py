"""AWS on this machine: MiniStack with what it lacks of an ALB, ECS and IAM; run as `python -m emulator`."""
