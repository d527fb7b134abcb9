# The writer makes records and seals shares. An entry is written once: no "update", so no second version.
path "orgkey/data/records/*" {
  capabilities = ["create", "read"]
}

# Enumerating epochs and versions. Writing metadata could expire versions, so there is no right to that.
path "orgkey/metadata/records/*" {
  capabilities = ["read", "list"]
}

# What `orgkey doctor` looks at: limits of the mount and the state of the Transit key.
path "orgkey/config" {
  capabilities = ["read"]
}

path "transit/keys/orgkey-escrow" {
  capabilities = ["read"]
}

# "update" only: with "create", a mistyped name would silently make a new key.
path "transit/encrypt/orgkey-escrow" {
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
