# Which records and versions there are, and what became of them: metadata, not one record.
path "${mount}/metadata/${prefix}*" {
  capabilities = ["read", "list"]
}
