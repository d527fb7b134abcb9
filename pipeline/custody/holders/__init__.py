"""Who opens a share."""
