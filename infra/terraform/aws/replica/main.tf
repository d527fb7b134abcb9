# Written by `make generate` from infra/aws/replica.yaml, which has the reasons. Change it there.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  writer = var.writer_role_arn != ""
}

resource "aws_kms_key" "replica_key" {
  description             = "Encrypts records at rest in ${var.bucket_name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for it in [
      {
        Sid    = "AccountAdministers"
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
          "kms:PutKeyPolicy",
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
        Sid       = "ReplicationEncrypts"
        Effect    = "Allow"
        Principal = { AWS = var.replication_role_arn }
        Action    = ["kms:Encrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = {
          StringEquals = {
            "kms:ViaService" = "s3.${data.aws_region.current.id}.amazonaws.com"
          }
          StringLike = {
            "kms:EncryptionContext:aws:s3:arn" = [
              "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}",
              "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*",
            ]
          }
        }
      },
      local.writer ? {
        Sid       = "WriterEncryptsAndReadsBack"
        Effect    = "Allow"
        Principal = { AWS = var.writer_role_arn }
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = "*"
        Condition = {
          StringEquals = {
            "kms:ViaService" = "s3.${data.aws_region.current.id}.amazonaws.com"
          }
          StringLike = {
            "kms:EncryptionContext:aws:s3:arn" = [
              "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}",
              "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*",
            ]
          }
        }
      } : null,
      {
        Sid       = "ReadersDecrypt"
        Effect    = "Allow"
        Principal = { AWS = [var.driller_role_arn, var.auditor_role_arn] }
        Action    = "kms:Decrypt"
        Resource  = "*"
        Condition = {
          StringEquals = {
            "kms:ViaService" = "s3.${data.aws_region.current.id}.amazonaws.com"
          }
          StringLike = {
            "kms:EncryptionContext:aws:s3:arn" = [
              "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}",
              "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*",
            ]
          }
        }
      },
      {
        Sid       = "NobodyElseUsesTheKey"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action = [
          "kms:CreateGrant",
          "kms:Decrypt",
          "kms:Encrypt",
          "kms:GenerateDataKey*",
          "kms:ReEncrypt*",
        ]
        Resource = "*"
        Condition = {
          ArnNotEquals = {
            "aws:PrincipalArn" = [for it in [
              var.driller_role_arn,
              var.auditor_role_arn,
              var.replication_role_arn,
              local.writer ? var.writer_role_arn : null,
            ] : it if it != null]
          }
        }
      },
    ] : it if it != null]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket" "replica_bucket" {
  bucket              = var.bucket_name
  object_lock_enabled = true

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "replica_bucket" {
  bucket = aws_s3_bucket.replica_bucket.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "replica_bucket" {
  bucket                  = aws_s3_bucket.replica_bucket.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "replica_bucket" {
  bucket = aws_s3_bucket.replica_bucket.id

  versioning_configuration {
    status = "Enabled"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "replica_bucket" {
  bucket = aws_s3_bucket.replica_bucket.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.replica_key.arn
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_object_lock_configuration" "replica_bucket" {
  bucket              = aws_s3_bucket.replica_bucket.id
  object_lock_enabled = "Enabled"
  depends_on          = [aws_s3_bucket_versioning.replica_bucket]

  rule {
    default_retention {
      mode = var.lock_mode
      days = var.lock_days
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "replica_bucket" {
  bucket     = aws_s3_bucket.replica_bucket.id
  depends_on = [aws_s3_bucket_versioning.replica_bucket]

  rule {
    id     = "abort-incomplete-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_policy" "replica_bucket_policy" {
  bucket = aws_s3_bucket.replica_bucket.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for it in [
      {
        Sid    = "EveryIdentityLists"
        Effect = "Allow"
        Principal = {
          AWS = [for it in [
            var.driller_role_arn,
            var.auditor_role_arn,
            var.retention_role_arn,
            local.writer ? var.writer_role_arn : null,
          ] : it if it != null]
        }
        Action = [
          "s3:ListBucket",
          "s3:ListBucketVersions",
          "s3:GetBucketLocation",
          "s3:GetBucketVersioning",
          "s3:GetBucketObjectLockConfiguration",
        ]
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}"
      },
      {
        Sid    = "EveryIdentitySeesRetention"
        Effect = "Allow"
        Principal = {
          AWS = [for it in [
            var.driller_role_arn,
            var.auditor_role_arn,
            var.retention_role_arn,
            local.writer ? var.writer_role_arn : null,
          ] : it if it != null]
        }
        Action   = "s3:GetObjectRetention"
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*"
      },
      {
        Sid    = "WriterAndDrillerRead"
        Effect = "Allow"
        Principal = {
          AWS = [for it in [var.driller_role_arn, local.writer ? var.writer_role_arn : null] : it if it != null]
        }
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*"
      },
      local.writer ? {
        Sid       = "WriterWrites"
        Effect    = "Allow"
        Principal = { AWS = var.writer_role_arn }
        Action    = ["s3:PutObject", "s3:PutObjectRetention"]
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*"
      } : null,
      {
        Sid       = "AuditorReadsTheLedger"
        Effect    = "Allow"
        Principal = { AWS = var.auditor_role_arn }
        Action    = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*/ledger/*.json"
      },
      {
        Sid       = "AuditorSeesSettings"
        Effect    = "Allow"
        Principal = { AWS = var.auditor_role_arn }
        Action = [
          "s3:GetBucketAcl",
          "s3:GetBucketLogging",
          "s3:GetBucketOwnershipControls",
          "s3:GetBucketPolicy",
          "s3:GetBucketPolicyStatus",
          "s3:GetBucketPublicAccessBlock",
          "s3:GetEncryptionConfiguration",
          "s3:GetLifecycleConfiguration",
          "s3:GetReplicationConfiguration",
        ]
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}"
      },
      {
        Sid       = "RetentionExtends"
        Effect    = "Allow"
        Principal = { AWS = var.retention_role_arn }
        Action    = "s3:PutObjectRetention"
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*"
      },
      {
        Sid       = "ReplicationWrites"
        Effect    = "Allow"
        Principal = { AWS = var.replication_role_arn }
        Action    = ["s3:ReplicateObject", "s3:ReplicateTags"]
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*"
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource = [
          "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}",
          "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*",
        ]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
      {
        Sid       = "NoOldTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource = [
          "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}",
          "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*",
        ]
        Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
      },
      {
        Sid       = "WrittenOnce"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:PutObject"
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*"
        Condition = { Null = { "s3:if-none-match" = "true" } }
      },
      {
        Sid    = "RetentionNotTooShort"
        Effect = "Deny"
        Principal = {
          AWS = [for it in [var.retention_role_arn, local.writer ? var.writer_role_arn : null] : it if it != null]
        }
        Action   = "s3:PutObjectRetention"
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*"
        Condition = {
          NumericLessThan = { "s3:object-lock-remaining-retention-days" = var.min_retention_days }
        }
      },
      {
        Sid    = "RetentionNotTooLong"
        Effect = "Deny"
        Principal = {
          AWS = [for it in [var.retention_role_arn, local.writer ? var.writer_role_arn : null] : it if it != null]
        }
        Action   = "s3:PutObjectRetention"
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*"
        Condition = {
          NumericGreaterThan = { "s3:object-lock-remaining-retention-days" = var.max_retention_days }
        }
      },
      {
        Sid       = "OnlyBreakGlassRemoves"
        Effect    = "Deny"
        Principal = "*"
        Action = [
          "s3:DeleteObject",
          "s3:DeleteObjectVersion",
          "s3:BypassGovernanceRetention",
        ]
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*"
        Condition = {
          ArnNotEquals = {
            "aws:PrincipalArn" = "arn:${data.aws_partition.current.partition}:iam::${data.aws_caller_identity.current.account_id}:role/${var.name_prefix}-break-glass"
          }
        }
      },
    ] : it if it != null]
  })
  depends_on = [aws_s3_bucket_public_access_block.replica_bucket]

  lifecycle {
    prevent_destroy = true
  }
}
