"""Opening an epoch: machines and people."""
