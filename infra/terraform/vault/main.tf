# A Vault or OpenBao server as `orgkey infra apply` would make it, from the same files: the policies are those of
# infra/vault/policies, the settings those of infra/vault/settings.toml (settings.json, by `make generate`).

locals {
  settings   = jsondecode(file("${path.module}/settings.json"))
  files      = "${path.module}/../../vault/policies"
  identities = ["writer", "driller", "auditor", "planner"]
  auth       = coalesce(var.auth_mount, local.settings.login.mount)

  # For each purpose of a part the values that are filled in; a part that says the same twice stands once.
  none    = { auth = "", mount = "", prefix = "", key = "" }
  logins  = [merge(local.none, { auth = local.auth })]
  targets = [for it in var.targets : merge(local.none, { mount = it.mount, prefix = it.prefix == "" ? "" : "${it.prefix}/" })]
  holders = [for it in var.holders : merge(local.none, { mount = it.mount, key = it.key })]
  purposes = [
    { name = "server", values = [local.none] },
    { name = "login", values = local.logins },
    { name = "mount", values = local.targets },
    { name = "records", values = local.targets },
    { name = "heads", values = local.targets },
    { name = "share", values = local.holders },
  ]
  policies = {
    for identity in local.identities : identity => join("\n", distinct(concat(
      ["# Policy orgkey-${identity} of orgkey-escrow, made from infra/vault.\n", file("${local.files}/token.hcl")],
      flatten([
        for purpose in local.purposes : [
          for values in purpose.values :
          templatefile("${local.files}/${identity}/${purpose.name}.hcl", values)
        ] if fileexists("${local.files}/${identity}/${purpose.name}.hcl")
      ]),
    )))
  }
  roles = { for identity in var.approle_identities : identity => local.settings.roles[identity] }

  kv      = toset(var.targets[*].mount)
  transit = toset(var.holders[*].mount)
}

resource "vault_policy" "identity" {
  for_each = local.policies

  name   = "orgkey-${each.key}"
  policy = each.value
}

resource "vault_auth_backend" "approle" {
  count = contains(var.existing_mounts, local.auth) || length(var.approle_identities) == 0 ? 0 : 1

  type = "approle"
  path = local.auth

  lifecycle {
    prevent_destroy = true
  }
}

# Secret ids are made by the hosts' owners, so that none lies in a state file; see README.md.
resource "vault_approle_auth_backend_role" "identity" {
  for_each = local.roles

  backend                 = local.auth
  role_name               = "orgkey-${each.key}"
  token_policies          = [vault_policy.identity[each.key].name]
  token_type              = each.value.token_type
  token_ttl               = each.value.token_ttl
  token_max_ttl           = each.value.token_max_ttl
  token_explicit_max_ttl  = each.value.token_explicit_max_ttl
  token_period            = each.value.token_period
  token_num_uses          = each.value.token_num_uses
  token_no_default_policy = each.value.token_no_default_policy
  token_bound_cidrs       = each.value.token_bound_cidrs
  bind_secret_id          = each.value.bind_secret_id
  secret_id_bound_cidrs   = each.value.secret_id_bound_cidrs
  secret_id_ttl           = each.value.secret_id_ttl
  secret_id_num_uses      = each.value.secret_id_num_uses

  depends_on = [vault_auth_backend.approle]
}

# -- records ---------------------------------------------------------------------------------------

resource "vault_mount" "kv" {
  for_each = setsubtract(local.kv, var.existing_mounts)

  path    = each.key
  type    = "kv"
  options = { version = "2" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "vault_kv_secret_backend_v2" "records" {
  for_each = local.kv

  mount                = each.key
  max_versions         = local.settings.kv.max_versions
  delete_version_after = local.settings.kv.delete_version_after

  depends_on = [vault_mount.kv]
}

# -- shares ----------------------------------------------------------------------------------------

resource "vault_mount" "transit" {
  for_each = setsubtract(local.transit, var.existing_mounts)

  path = each.key
  type = "transit"

  lifecycle {
    prevent_destroy = true
  }
}

resource "vault_transit_secret_backend_key" "share" {
  for_each = { for it in var.holders : "${it.mount}/${it.key}" => it }

  backend                = each.value.mount
  name                   = each.value.key
  type                   = local.settings.transit.type
  derived                = local.settings.transit.derived
  convergent_encryption  = local.settings.transit.convergent_encryption
  exportable             = local.settings.transit.exportable
  allow_plaintext_backup = local.settings.transit.allow_plaintext_backup
  deletion_allowed       = local.settings.transit.deletion_allowed

  depends_on = [vault_mount.transit]

  lifecycle {
    prevent_destroy = true
  }
}

# -- audit -----------------------------------------------------------------------------------------

resource "vault_audit" "file" {
  count = var.audit && local.settings.audit.required ? 1 : 0

  type    = local.settings.audit.type
  path    = local.settings.audit.path
  options = local.settings.audit.options
}
