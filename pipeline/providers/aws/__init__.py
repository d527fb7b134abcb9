"""AWS, and what speaks its protocol."""
