# The driller reads records and opens shares; it writes nothing.
path "orgkey/data/records/*" {
  capabilities = ["read"]
}

path "orgkey/metadata/records/*" {
  capabilities = ["read", "list"]
}

path "orgkey/config" {
  capabilities = ["read"]
}

path "transit/keys/orgkey-escrow" {
  capabilities = ["read"]
}

path "transit/decrypt/orgkey-escrow" {
  capabilities = ["update"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}

path "sys/capabilities-self" {
  capabilities = ["update"]
}
