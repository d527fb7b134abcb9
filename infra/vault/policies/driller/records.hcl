# Reads records and the ledger's heads; writes nothing.
path "${mount}/data/${prefix}*" {
  capabilities = ["read"]
}

path "${mount}/metadata/${prefix}*" {
  capabilities = ["read", "list"]
}
