"""A stand-in for a PGP Encryption Server: what its documentation says, with real OpenPGP. Not the product."""
