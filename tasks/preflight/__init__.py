"""The looks of a preflight: each gathers the facts of one check and hands them to its judgement."""
