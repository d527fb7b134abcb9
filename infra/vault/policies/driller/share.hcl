# Opens shares.
path "${mount}/decrypt/${key}" {
  capabilities = ["update"]
}

path "${mount}/keys/${key}" {
  capabilities = ["read"]
}
