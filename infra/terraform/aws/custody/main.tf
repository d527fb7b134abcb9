# Written by `make generate` from infra/aws/custody.yaml, which has the reasons. Change it there.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  alarm = var.alarm != null
}

resource "aws_kms_key" "custody_key" {
  description              = "orgkey-escrow custody share"
  customer_master_key_spec = "SYMMETRIC_DEFAULT"
  key_usage                = "ENCRYPT_DECRYPT"
  enable_key_rotation      = true
  deletion_window_in_days  = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "AccountLooksAfterTheKey"
        Effect = "Allow"
        Principal = {
          AWS = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:root"
        }
        Action = [
          "kms:CancelKeyDeletion",
          "kms:CreateAlias",
          "kms:DeleteAlias",
          "kms:DescribeKey",
          "kms:DisableKey",
          "kms:EnableKey",
          "kms:EnableKeyRotation",
          "kms:GetKeyPolicy",
          "kms:GetKeyRotationStatus",
          "kms:ListGrants",
          "kms:ListKeyPolicies",
          "kms:ListKeyRotations",
          "kms:ListResourceTags",
          "kms:RotateKeyOnDemand",
          "kms:ScheduleKeyDeletion",
          "kms:TagResource",
          "kms:UntagResource",
          "kms:UpdateAlias",
          "kms:UpdateKeyDescription",
        ]
        Resource = "*"
      },
      {
        Sid       = "OneRoleChangesThePolicy"
        Effect    = "Allow"
        Principal = { AWS = var.policy_changer_arns }
        Action    = ["kms:GetKeyPolicy", "kms:PutKeyPolicy"]
        Resource  = "*"
      },
      {
        Sid       = "WriterSeals"
        Effect    = "Allow"
        Principal = { AWS = var.writer_role_arn }
        Action    = "kms:Encrypt"
        Resource  = "*"
        Condition = {
          Null = {
            "kms:EncryptionContext:fingerprint" = "false"
            "kms:EncryptionContext:record_id"   = "false"
          }
          "ForAllValues:StringEquals" = { "kms:EncryptionContextKeys" = ["fingerprint", "record_id"] }
        }
      },
      {
        Sid       = "DrillerOpens"
        Effect    = "Allow"
        Principal = { AWS = var.driller_role_arn }
        Action    = "kms:Decrypt"
        Resource  = "*"
        Condition = {
          Null = {
            "kms:EncryptionContext:fingerprint" = "false"
            "kms:EncryptionContext:record_id"   = "false"
          }
          "ForAllValues:StringEquals" = { "kms:EncryptionContextKeys" = ["fingerprint", "record_id"] }
        }
      },
      {
        Sid    = "IdentitiesLook"
        Effect = "Allow"
        Principal = {
          AWS = [var.writer_role_arn, var.driller_role_arn, var.auditor_role_arn]
        }
        Action   = ["kms:DescribeKey", "kms:GetKeyRotationStatus"]
        Resource = "*"
      },
      {
        Sid       = "NobodyElseOpens"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = ["kms:Decrypt", "kms:ReEncryptFrom"]
        Resource  = "*"
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = var.driller_role_arn } }
      },
      {
        Sid       = "NobodyElseSeals"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = ["kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncryptTo"]
        Resource  = "*"
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = var.writer_role_arn } }
      },
      {
        Sid       = "NoGrants"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "kms:CreateGrant"
        Resource  = "*"
      },
    ]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "custody_alias" {
  name          = "alias/${var.alias}"
  target_key_id = aws_kms_key.custody_key.key_id
}

resource "aws_cloudwatch_event_rule" "watch" {
  count       = local.alarm ? 1 : 0
  description = "Changes to the custody key of orgkey-escrow"
  event_pattern = jsonencode({
    source      = ["aws.kms"]
    detail-type = ["AWS API Call via CloudTrail"]
    detail = {
      eventSource = ["kms.amazonaws.com"]
      eventName = [
        "PutKeyPolicy",
        "CreateGrant",
        "DisableKey",
        "ScheduleKeyDeletion",
        "UpdateAlias",
        "DeleteAlias",
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "watch_topic" {
  count     = local.alarm ? 1 : 0
  rule      = aws_cloudwatch_event_rule.watch[0].name
  target_id = "topic"
  arn       = var.alarm.topic_arn
}
