"""Who can reconstruct the key, and what loss is fatal."""
