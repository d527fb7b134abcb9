# Makes records and the ledger's heads. An entry is written once: no "update", so no second version.
path "${mount}/data/${prefix}*" {
  capabilities = ["create", "read"]
}

# Enumerating epochs and versions. Writing metadata could expire versions, so there is no right to that.
path "${mount}/metadata/${prefix}*" {
  capabilities = ["read", "list"]
}
