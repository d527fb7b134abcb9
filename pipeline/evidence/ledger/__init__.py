"""The hash-chained log and its mirrors."""
