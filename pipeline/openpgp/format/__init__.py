"""OpenPGP packets and their fields."""
