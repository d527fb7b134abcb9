
# Vault refuses to start where it may not lock memory; OpenBao no longer knows the setting.
disable_mlock = true
