"""GnuPG as a program."""
