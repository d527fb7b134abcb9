"""Read a server's backups as streams: which key they are for, and whether they open to their end."""
