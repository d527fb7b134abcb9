"""People: certificates and challenges."""
