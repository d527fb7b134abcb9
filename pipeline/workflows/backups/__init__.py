"""The server's backups against the escrowed keys."""
