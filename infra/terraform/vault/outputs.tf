output "policies" {
  description = "The text of each identity's policy."
  value       = local.policies
}

output "role_ids" {
  description = "role_id of each identity that logs in by AppRole; not a secret."
  value       = { for identity, role in vault_approle_auth_backend_role.identity : identity => role.role_id }
}
