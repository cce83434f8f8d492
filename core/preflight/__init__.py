"""What an environment assumes, each assumption as a check: facts in, a verdict out, with what to do about it."""
