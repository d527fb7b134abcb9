
# OpenBao takes audit devices from its configuration only, Vault from its API only.
audit "file" "stack" {
  options {
    file_path = $AUDIT
    log_raw = "false"
    mode = "0600"
  }
}
