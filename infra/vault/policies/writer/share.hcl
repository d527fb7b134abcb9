# Seals shares. "update" only: with "create", a mistyped name would silently make a new key.
path "${mount}/encrypt/${key}" {
  capabilities = ["update"]
}

# Before it seals, it looks whether the key can be trusted with a share.
path "${mount}/keys/${key}" {
  capabilities = ["read"]
}
