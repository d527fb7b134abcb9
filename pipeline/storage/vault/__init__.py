"""Vault KV v2."""
