"""The record: format, manifest, verification, creation."""
