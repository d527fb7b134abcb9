"""Vault's side: plan and apply."""
