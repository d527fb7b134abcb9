variable "targets" {
  description = "The targets of kind vault at this server, in the order of orgkey.toml."
  type = list(object({
    mount  = optional(string, "orgkey")
    prefix = optional(string, "records")
  }))
  default = [{}]

  validation {
    condition     = alltrue([for it in var.targets : can(regex("^[A-Za-z0-9._@=/-]+$", "${it.mount}${it.prefix}"))])
    error_message = "A mount and a prefix are letters, digits and . _ @ = - /, without patterns."
  }
}

variable "holders" {
  description = "The holders of kind vault-transit at this server, in the order of orgkey.toml."
  type = list(object({
    mount = optional(string, "transit")
    key   = optional(string, "orgkey-escrow")
  }))
  default = []

  validation {
    condition     = alltrue([for it in var.holders : can(regex("^[A-Za-z0-9._@=/-]+$", "${it.mount}${it.key}"))])
    error_message = "A mount and a key are letters, digits and . _ @ = - /, without patterns."
  }
}

variable "auth_mount" {
  description = "Where AppRole is, or is put; null for that of infra/vault/settings.toml."
  type        = string
  default     = null
}

variable "approle_identities" {
  description = "Who logs in by AppRole. Leave out who logs in by kubernetes, jwt, cert or aws: an AppRole would be a second door."
  type        = set(string)
  default     = ["writer", "driller", "auditor", "planner"]

  validation {
    condition     = length(setsubtract(var.approle_identities, ["writer", "driller", "auditor", "planner"])) == 0
    error_message = "The identities are writer, driller, auditor and planner."
  }
}

variable "existing_mounts" {
  description = "Mounts that are there already and stay somebody else's, for example [\"approle\"]."
  type        = set(string)
  default     = []
}

variable "audit" {
  description = "Whether to start an audit device; false for OpenBao, which takes them from its configuration file, and in a namespace."
  type        = bool
  default     = true
}
