# Limits of the mount: how many versions it keeps, and whether they expire. To read, not to set.
path "${mount}/config" {
  capabilities = ["read"]
}
