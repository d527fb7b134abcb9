"""Vault's side: what a server should have, what it has, the differences, and making them go away."""
