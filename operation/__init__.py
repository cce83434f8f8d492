"""What a run carries: its lease, its journal, its workspace, and the one door to traffic."""
