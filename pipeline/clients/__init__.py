"""Connections to Vault and AWS, shared by targets and holders."""
