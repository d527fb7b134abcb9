"""TLS: files, errors, expiry."""
