# The state of the key that holds a share: versions, exportable or not. It opens and seals nothing.
path "${mount}/keys/${key}" {
  capabilities = ["read"]
}
