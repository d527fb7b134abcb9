"""Sessions at Vault and AWS; errors of the SDKs end here."""
