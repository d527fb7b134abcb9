# Written by `make generate` from infra/aws/escrow.yaml, which has the reasons. Change it there.

variable "bucket_name" {
  description = "Name of the record bucket. The access log's bucket is called the same with -log behind it."
  type        = string

  validation {
    condition     = can(regex("^(?:[a-z0-9][a-z0-9-]{1,57}[a-z0-9])$", var.bucket_name))
    error_message = "bucket_name has to match [a-z0-9][a-z0-9-]{1,57}[a-z0-9]."
  }
}

variable "prefix" {
  description = "Where records lie in the bucket; prefix of the target in orgkey.toml."
  type        = string
  default     = "orgkey"

  validation {
    condition     = can(regex("^(?:[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)$", var.prefix))
    error_message = "prefix has to match [A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*."
  }
}

variable "name_prefix" {
  description = "Roles are called <name_prefix>-writer and so on."
  type        = string
  default     = "orgkey"

  validation {
    condition     = can(regex("^(?:[A-Za-z0-9-]{1,40})$", var.name_prefix))
    error_message = "name_prefix has to match [A-Za-z0-9-]{1,40}."
  }
}

variable "lock_mode" {
  description = "Mode of the default retention. Nobody, not even AWS, shortens COMPLIANCE."
  type        = string
  default     = "GOVERNANCE"

  validation {
    condition     = contains(["GOVERNANCE", "COMPLIANCE"], var.lock_mode)
    error_message = "lock_mode has to be one of GOVERNANCE, COMPLIANCE."
  }
}

variable "lock_days" {
  description = "Days of the default retention, which covers whatever is written without one of its own."
  type        = number
  default     = 400

  validation {
    condition     = var.lock_days >= 1 && var.lock_days <= 3650
    error_message = "lock_days has to be between 1 and 3650."
  }
}

variable "min_retention_days" {
  description = "No retention that ends sooner than this many days ahead is taken from writer and retention."
  type        = number
  default     = 1

  validation {
    condition     = var.min_retention_days >= 1 && var.min_retention_days <= 3650
    error_message = "min_retention_days has to be between 1 and 3650."
  }
}

variable "max_retention_days" {
  description = "Nor one that ends later. A mistake in COMPLIANCE mode costs this long."
  type        = number
  default     = 3650

  validation {
    condition     = var.max_retention_days >= 1 && var.max_retention_days <= 36500
    error_message = "max_retention_days has to be between 1 and 36500."
  }
}

variable "log_days" {
  description = "Days that the access log is kept."
  type        = number
  default     = 400

  validation {
    condition     = var.log_days >= 1
    error_message = "log_days has to be at least 1."
  }
}

variable "writer_principals" {
  description = "ARNs that may assume the writer's role. Unused when oidc_provider_arn is set."
  type        = list(string)
  default     = []

  validation {
    condition     = var.oidc_provider_arn != "" || length(var.writer_principals) > 0
    error_message = "writer_principals is empty; give it, or oidc_provider_arn."
  }
}

variable "driller_principals" {
  description = "ARNs that may assume the driller's role, with which a restore is done, too."
  type        = list(string)
  default     = []

  validation {
    condition     = var.oidc_provider_arn != "" || length(var.driller_principals) > 0
    error_message = "driller_principals is empty; give it, or oidc_provider_arn."
  }
}

variable "auditor_principals" {
  description = "ARNs that may assume the auditor's role."
  type        = list(string)
  default     = []

  validation {
    condition     = var.oidc_provider_arn != "" || length(var.auditor_principals) > 0
    error_message = "auditor_principals is empty; give it, or oidc_provider_arn."
  }
}

variable "retention_principals" {
  description = "ARNs that may assume the role that extends retention."
  type        = list(string)
  default     = []

  validation {
    condition     = var.oidc_provider_arn != "" || length(var.retention_principals) > 0
    error_message = "retention_principals is empty; give it, or oidc_provider_arn."
  }
}

variable "oidc_provider_arn" {
  description = "OIDC provider whose tokens open the roles (Kubernetes, CI); empty for none."
  type        = string
  default     = ""
}

variable "oidc_issuer" {
  description = "Its issuer without https://, as it stands in the provider's ARN."
  type        = string
  default     = ""
}

variable "oidc_audience" {
  description = "Audience of the tokens."
  type        = string
  default     = "sts.amazonaws.com"
}

variable "writer_oidc_subjects" {
  description = "Subjects of the tokens that open the writer's role."
  type        = list(string)
  default     = ["system:serviceaccount:orgkey:orgkey-watch"]
}

variable "driller_oidc_subjects" {
  description = "Subjects of the tokens that open the driller's role."
  type        = list(string)
  default = [
    "system:serviceaccount:orgkey:orgkey-watch",
    "system:serviceaccount:orgkey:orgkey-verify",
    "system:serviceaccount:orgkey:orgkey-drill",
    "system:serviceaccount:orgkey:orgkey-report",
    "system:serviceaccount:orgkey:orgkey-status",
    "system:serviceaccount:orgkey:orgkey-backups",
    "system:serviceaccount:orgkey:orgkey-backups-part",
  ]
}

variable "auditor_oidc_subjects" {
  description = "Subjects of the tokens that open the auditor's role."
  type        = list(string)
  default = [
    "system:serviceaccount:orgkey:orgkey-watch",
    "system:serviceaccount:orgkey:orgkey-report",
    "system:serviceaccount:orgkey:orgkey-status",
  ]
}

variable "retention_oidc_subjects" {
  description = "Subjects of the tokens that open the retention's role."
  type        = list(string)
  default     = ["system:serviceaccount:orgkey:orgkey-retain"]
}

variable "custody" {
  description = "The custody module, or an object with its output key_arn; null until it is there."
  type        = object({ key_arn = string })
  default     = null
}

variable "replica" {
  description = "The replica module, or an object with its outputs bucket_arn and key_arn; null for no replication."
  type = object({
    bucket_arn = string
    key_arn    = string
  })
  default = null
}

variable "break_glass_principals" {
  description = "ARNs of IAM users that may, with MFA, assume the role that removes versions; empty for no such role."
  type        = list(string)
  default     = []
}
