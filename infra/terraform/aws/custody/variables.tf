# Written by `make generate` from infra/aws/custody.yaml, which has the reasons. Change it there.

variable "writer_role_arn" {
  description = "The role that seals shares; output of the escrow module."
  type        = string

  validation {
    condition     = can(regex("^(?:arn:aws[a-z-]*:iam::[0-9]{12}:role/.+)$", var.writer_role_arn))
    error_message = "writer_role_arn has to match arn:aws[a-z-]*:iam::[0-9]{12}:role/.+."
  }
}

variable "driller_role_arn" {
  description = "The role that opens shares; output of the escrow module."
  type        = string

  validation {
    condition     = can(regex("^(?:arn:aws[a-z-]*:iam::[0-9]{12}:role/.+)$", var.driller_role_arn))
    error_message = "driller_role_arn has to match arn:aws[a-z-]*:iam::[0-9]{12}:role/.+."
  }
}

variable "auditor_role_arn" {
  description = "The role that looks at the key's state; output of the escrow module."
  type        = string

  validation {
    condition     = can(regex("^(?:arn:aws[a-z-]*:iam::[0-9]{12}:role/.+)$", var.auditor_role_arn))
    error_message = "auditor_role_arn has to match arn:aws[a-z-]*:iam::[0-9]{12}:role/.+."
  }
}

variable "policy_changer_arns" {
  description = "The role that may change the key's policy; two while one hands over to the next. Deploy and update this stack with it, with MFA, and keep it for that: whoever has it can let himself decrypt."
  type        = list(string)
}

variable "alias" {
  description = "The key's alias."
  type        = string
  default     = "orgkey-escrow"

  validation {
    condition     = can(regex("^(?:[A-Za-z0-9/_-]+)$", var.alias))
    error_message = "alias has to match [A-Za-z0-9/_-]+."
  }
}

variable "alarm" {
  description = "SNS topic that hears of changes to the key (needs a CloudTrail trail here); null for none."
  type        = object({ topic_arn = string })
  default     = null
}
