# How the identities log in. Role ids and secret ids lie below these paths and are not covered.
path "auth/${auth}/role/orgkey-writer" {
  capabilities = ["read"]
}

path "auth/${auth}/role/orgkey-driller" {
  capabilities = ["read"]
}

path "auth/${auth}/role/orgkey-auditor" {
  capabilities = ["read"]
}

path "auth/${auth}/role/orgkey-planner" {
  capabilities = ["read"]
}
