"""The release: what users download, and that it can be made again and installed."""
