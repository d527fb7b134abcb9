# Written by `make generate` from infra/aws/replica.yaml, which has the reasons. Change it there.

variable "bucket_name" {
  description = "Name of the replica bucket."
  type        = string

  validation {
    condition     = can(regex("^(?:[a-z0-9][a-z0-9-]{1,61}[a-z0-9])$", var.bucket_name))
    error_message = "bucket_name has to match [a-z0-9][a-z0-9-]{1,61}[a-z0-9]."
  }
}

variable "prefix" {
  description = "As in the escrow module."
  type        = string
  default     = "orgkey"

  validation {
    condition     = can(regex("^(?:[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)$", var.prefix))
    error_message = "prefix has to match [A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*."
  }
}

variable "name_prefix" {
  description = "As in the escrow module."
  type        = string
  default     = "orgkey"

  validation {
    condition     = can(regex("^(?:[A-Za-z0-9-]{1,40})$", var.name_prefix))
    error_message = "name_prefix has to match [A-Za-z0-9-]{1,40}."
  }
}

variable "lock_mode" {
  description = "Mode of the default retention."
  type        = string
  default     = "GOVERNANCE"

  validation {
    condition     = contains(["GOVERNANCE", "COMPLIANCE"], var.lock_mode)
    error_message = "lock_mode has to be one of GOVERNANCE, COMPLIANCE."
  }
}

variable "lock_days" {
  description = "Days of the default retention. A replica keeps the retention of what it copies."
  type        = number
  default     = 400

  validation {
    condition     = var.lock_days >= 1 && var.lock_days <= 3650
    error_message = "lock_days has to be between 1 and 3650."
  }
}

variable "min_retention_days" {
  description = "As in the escrow module."
  type        = number
  default     = 1

  validation {
    condition     = var.min_retention_days >= 1 && var.min_retention_days <= 3650
    error_message = "min_retention_days has to be between 1 and 3650."
  }
}

variable "max_retention_days" {
  description = "As in the escrow module."
  type        = number
  default     = 3650

  validation {
    condition     = var.max_retention_days >= 1 && var.max_retention_days <= 36500
    error_message = "max_retention_days has to be between 1 and 36500."
  }
}

variable "writer_role_arn" {
  description = "Output of the escrow module, where the replica is to be a target of its own, written and read back like the others. Empty - then only replication writes here."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(?:(arn:aws[a-z-]*:iam::[0-9]{12}:role/.+)?)$", var.writer_role_arn))
    error_message = "writer_role_arn has to match (arn:aws[a-z-]*:iam::[0-9]{12}:role/.+)?."
  }
}

variable "driller_role_arn" {
  description = "Output of the escrow module."
  type        = string

  validation {
    condition     = can(regex("^(?:arn:aws[a-z-]*:iam::[0-9]{12}:role/.+)$", var.driller_role_arn))
    error_message = "driller_role_arn has to match arn:aws[a-z-]*:iam::[0-9]{12}:role/.+."
  }
}

variable "auditor_role_arn" {
  description = "Output of the escrow module."
  type        = string

  validation {
    condition     = can(regex("^(?:arn:aws[a-z-]*:iam::[0-9]{12}:role/.+)$", var.auditor_role_arn))
    error_message = "auditor_role_arn has to match arn:aws[a-z-]*:iam::[0-9]{12}:role/.+."
  }
}

variable "retention_role_arn" {
  description = "Output of the escrow module."
  type        = string

  validation {
    condition     = can(regex("^(?:arn:aws[a-z-]*:iam::[0-9]{12}:role/.+)$", var.retention_role_arn))
    error_message = "retention_role_arn has to match arn:aws[a-z-]*:iam::[0-9]{12}:role/.+."
  }
}

variable "replication_role_arn" {
  description = "Output of the escrow module."
  type        = string

  validation {
    condition     = can(regex("^(?:arn:aws[a-z-]*:iam::[0-9]{12}:role/.+)$", var.replication_role_arn))
    error_message = "replication_role_arn has to match arn:aws[a-z-]*:iam::[0-9]{12}:role/.+."
  }
}
