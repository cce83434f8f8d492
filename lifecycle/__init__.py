"""How every flow begins and ends: its run, its way to the lease, its abort, and taking over from the dead."""
