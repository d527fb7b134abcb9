"""Reading, re-wrapping and proving OpenPGP keys."""
