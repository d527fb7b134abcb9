"""The local stack: a real Vault (OpenBao), a real S3 (versitygw) and a stand-in KMS, for trying and testing.

Nothing here is used when the program works on your own servers.
"""
