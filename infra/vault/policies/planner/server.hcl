# What the server has. Read only; "sudo" is what the server asks of everybody who lists audit devices.
path "sys/mounts" {
  capabilities = ["read"]
}

path "sys/auth" {
  capabilities = ["read"]
}

path "sys/audit" {
  capabilities = ["read", "sudo"]
}

path "sys/policies/acl/orgkey-writer" {
  capabilities = ["read"]
}

path "sys/policies/acl/orgkey-driller" {
  capabilities = ["read"]
}

path "sys/policies/acl/orgkey-auditor" {
  capabilities = ["read"]
}

path "sys/policies/acl/orgkey-planner" {
  capabilities = ["read"]
}
