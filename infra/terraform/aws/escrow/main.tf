# Written by `make generate` from infra/aws/escrow.yaml, which has the reasons. Change it there.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  oidc        = var.oidc_provider_arn != ""
  custody     = var.custody != null
  replica     = var.replica != null
  break_glass = length(var.break_glass_principals) > 0
}

resource "aws_kms_key" "record_key" {
  description             = "Encrypts records at rest in ${var.bucket_name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
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
        Sid       = "WriterEncryptsAndReadsBack"
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.writer.arn }
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
      },
      {
        Sid    = "ReadersDecrypt"
        Effect = "Allow"
        Principal = {
          AWS = [
            aws_iam_role.driller.arn,
            aws_iam_role.auditor.arn,
            aws_iam_role.replication.arn,
          ]
        }
        Action   = "kms:Decrypt"
        Resource = "*"
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
            "aws:PrincipalArn" = [
              aws_iam_role.writer.arn,
              aws_iam_role.driller.arn,
              aws_iam_role.auditor.arn,
              aws_iam_role.replication.arn,
            ]
          }
        }
      },
    ]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket" "log_bucket" {
  bucket = "${var.bucket_name}-log"

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "log_bucket" {
  bucket = aws_s3_bucket.log_bucket.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "log_bucket" {
  bucket                  = aws_s3_bucket.log_bucket.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "log_bucket" {
  bucket = aws_s3_bucket.log_bucket.id

  versioning_configuration {
    status = "Enabled"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "log_bucket" {
  bucket = aws_s3_bucket.log_bucket.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "log_bucket" {
  bucket     = aws_s3_bucket.log_bucket.id
  depends_on = [aws_s3_bucket_versioning.log_bucket]

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = var.log_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_policy" "log_bucket_policy" {
  bucket = aws_s3_bucket.log_bucket.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "S3WritesTheLog"
        Effect    = "Allow"
        Principal = { Service = "logging.s3.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}-log/*"
        Condition = {
          ArnLike = {
            "aws:SourceArn" = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}"
          }
          StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id }
        }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource = [
          "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}-log",
          "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}-log/*",
        ]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
  depends_on = [aws_s3_bucket_public_access_block.log_bucket]

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket" "record_bucket" {
  bucket              = var.bucket_name
  object_lock_enabled = true

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_ownership_controls" "record_bucket" {
  bucket = aws_s3_bucket.record_bucket.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "record_bucket" {
  bucket                  = aws_s3_bucket.record_bucket.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "record_bucket" {
  bucket = aws_s3_bucket.record_bucket.id

  versioning_configuration {
    status = "Enabled"
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "record_bucket" {
  bucket = aws_s3_bucket.record_bucket.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.record_key.arn
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_object_lock_configuration" "record_bucket" {
  bucket              = aws_s3_bucket.record_bucket.id
  object_lock_enabled = "Enabled"
  depends_on          = [aws_s3_bucket_versioning.record_bucket]

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

resource "aws_s3_bucket_logging" "record_bucket" {
  bucket        = aws_s3_bucket.record_bucket.id
  target_bucket = aws_s3_bucket.log_bucket.id
  target_prefix = "${var.bucket_name}/"
  depends_on    = [aws_s3_bucket_policy.log_bucket_policy]

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "record_bucket" {
  bucket     = aws_s3_bucket.record_bucket.id
  depends_on = [aws_s3_bucket_versioning.record_bucket]

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

resource "aws_s3_bucket_replication_configuration" "record_bucket" {
  count      = local.replica ? 1 : 0
  bucket     = aws_s3_bucket.record_bucket.id
  role       = aws_iam_role.replication.arn
  depends_on = [aws_s3_bucket_versioning.record_bucket]

  rule {
    id       = "second-region"
    status   = "Enabled"
    priority = 1

    filter {
      prefix = "${var.prefix}/"
    }

    delete_marker_replication {
      status = "Disabled"
    }

    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }

    destination {
      bucket = var.replica.bucket_arn

      encryption_configuration {
        replica_kms_key_id = var.replica.key_arn
      }
    }
  }
}

resource "aws_s3_bucket_policy" "record_bucket_policy" {
  bucket = aws_s3_bucket.record_bucket.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "EveryIdentityLists"
        Effect = "Allow"
        Principal = {
          AWS = [
            aws_iam_role.writer.arn,
            aws_iam_role.driller.arn,
            aws_iam_role.auditor.arn,
            aws_iam_role.retention.arn,
          ]
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
          AWS = [
            aws_iam_role.writer.arn,
            aws_iam_role.driller.arn,
            aws_iam_role.auditor.arn,
            aws_iam_role.retention.arn,
          ]
        }
        Action   = "s3:GetObjectRetention"
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*"
      },
      {
        Sid       = "WriterAndDrillerRead"
        Effect    = "Allow"
        Principal = { AWS = [aws_iam_role.writer.arn, aws_iam_role.driller.arn] }
        Action    = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*"
      },
      {
        Sid       = "WriterWrites"
        Effect    = "Allow"
        Principal = { AWS = [aws_iam_role.writer.arn] }
        Action    = ["s3:PutObject", "s3:PutObjectRetention"]
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*"
      },
      {
        Sid       = "AuditorReadsTheLedger"
        Effect    = "Allow"
        Principal = { AWS = [aws_iam_role.auditor.arn] }
        Action    = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*/ledger/*.json"
      },
      {
        Sid       = "AuditorSeesSettings"
        Effect    = "Allow"
        Principal = { AWS = [aws_iam_role.auditor.arn] }
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
        Principal = { AWS = [aws_iam_role.retention.arn] }
        Action    = "s3:PutObjectRetention"
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
        Sid       = "RetentionNotTooShort"
        Effect    = "Deny"
        Principal = { AWS = [aws_iam_role.writer.arn, aws_iam_role.retention.arn] }
        Action    = "s3:PutObjectRetention"
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*"
        Condition = {
          NumericLessThan = { "s3:object-lock-remaining-retention-days" = var.min_retention_days }
        }
      },
      {
        Sid       = "RetentionNotTooLong"
        Effect    = "Deny"
        Principal = { AWS = [aws_iam_role.writer.arn, aws_iam_role.retention.arn] }
        Action    = "s3:PutObjectRetention"
        Resource  = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*"
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
    ]
  })
  depends_on = [aws_s3_bucket_public_access_block.record_bucket]

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_iam_role" "writer" {
  name                 = "${var.name_prefix}-writer"
  description          = "Makes records and seals shares; removes nothing and opens no share"
  max_session_duration = 3600
  assume_role_policy = local.oidc ? jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Federated = var.oidc_provider_arn }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = {
          StringEquals = {
            "${var.oidc_issuer}:aud" = var.oidc_audience
            "${var.oidc_issuer}:sub" = var.writer_oidc_subjects
          }
        }
      },
    ]
    }) : jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { AWS = var.writer_principals }
        Action    = "sts:AssumeRole"
      },
    ]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_iam_role_policy" "writer_custody_key" {
  count = local.custody ? 1 : 0
  name  = "custody-key"
  role  = aws_iam_role.writer.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["kms:Encrypt", "kms:DescribeKey", "kms:GetKeyRotationStatus"]
        Resource = var.custody.key_arn
      },
    ]
  })
}

resource "aws_iam_role" "driller" {
  name                 = "${var.name_prefix}-driller"
  description          = "Reads records and opens shares, for drills and restores; writes nothing"
  max_session_duration = 3600
  assume_role_policy = local.oidc ? jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Federated = var.oidc_provider_arn }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = {
          StringEquals = {
            "${var.oidc_issuer}:aud" = var.oidc_audience
            "${var.oidc_issuer}:sub" = var.driller_oidc_subjects
          }
        }
      },
    ]
    }) : jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { AWS = var.driller_principals }
        Action    = "sts:AssumeRole"
      },
    ]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_iam_role_policy" "driller_custody_key" {
  count = local.custody ? 1 : 0
  name  = "custody-key"
  role  = aws_iam_role.driller.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:DescribeKey", "kms:GetKeyRotationStatus"]
        Resource = var.custody.key_arn
      },
    ]
  })
}

resource "aws_iam_role" "auditor" {
  name                 = "${var.name_prefix}-auditor"
  description          = "Sees what there is, its retention, the ledger and the settings; reads no record"
  max_session_duration = 3600
  assume_role_policy = local.oidc ? jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Federated = var.oidc_provider_arn }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = {
          StringEquals = {
            "${var.oidc_issuer}:aud" = var.oidc_audience
            "${var.oidc_issuer}:sub" = var.auditor_oidc_subjects
          }
        }
      },
    ]
    }) : jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { AWS = var.auditor_principals }
        Action    = "sts:AssumeRole"
      },
    ]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_iam_role_policy" "auditor_custody_key" {
  count = local.custody ? 1 : 0
  name  = "custody-key"
  role  = aws_iam_role.auditor.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["kms:DescribeKey", "kms:GetKeyRotationStatus"]
        Resource = var.custody.key_arn
      },
    ]
  })
}

resource "aws_iam_role" "retention" {
  name                 = "${var.name_prefix}-retention"
  description          = "Extends the retention of versions; reads none and shortens none"
  max_session_duration = 3600
  assume_role_policy = local.oidc ? jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Federated = var.oidc_provider_arn }
        Action    = "sts:AssumeRoleWithWebIdentity"
        Condition = {
          StringEquals = {
            "${var.oidc_issuer}:aud" = var.oidc_audience
            "${var.oidc_issuer}:sub" = var.retention_oidc_subjects
          }
        }
      },
    ]
    }) : jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { AWS = var.retention_principals }
        Action    = "sts:AssumeRole"
      },
    ]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_iam_role" "replication" {
  name        = "${var.name_prefix}-replication"
  description = "S3 copies records to the second region with it"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = "s3.amazonaws.com" }
        Action    = "sts:AssumeRole"
      },
    ]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_iam_role_policy" "replication_replicate" {
  count = local.replica ? 1 : 0
  name  = "replicate"
  role  = aws_iam_role.replication.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}"
      },
      {
        Effect = "Allow"
        Action = [
          "s3:GetObjectLegalHold",
          "s3:GetObjectRetention",
          "s3:GetObjectVersionAcl",
          "s3:GetObjectVersionForReplication",
          "s3:GetObjectVersionTagging",
        ]
        Resource = "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/${var.prefix}/*"
      },
      {
        Effect   = "Allow"
        Action   = ["s3:ReplicateObject", "s3:ReplicateTags"]
        Resource = "${var.replica.bucket_arn}/${var.prefix}/*"
      },
      {
        Effect   = "Allow"
        Action   = "kms:Encrypt"
        Resource = var.replica.key_arn
      },
    ]
  })
}

resource "aws_iam_role" "break_glass_role" {
  count                = local.break_glass ? 1 : 0
  name                 = "${var.name_prefix}-break-glass"
  description          = "Removes versions that are not under COMPLIANCE; every use is an incident"
  max_session_duration = 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { AWS = var.break_glass_principals }
        Action    = "sts:AssumeRole"
        Condition = {
          Bool            = { "aws:MultiFactorAuthPresent" = "true" }
          NumericLessThan = { "aws:MultiFactorAuthAge" = "900" }
        }
      },
    ]
  })
}

resource "aws_iam_role_policy" "break_glass_role_remove_versions" {
  count = local.break_glass ? 1 : 0
  name  = "remove-versions"
  role  = aws_iam_role.break_glass_role[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Action = ["s3:ListBucketVersions", "s3:GetBucketVersioning"]
        Resource = [for it in [
          "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}",
          local.replica ? var.replica.bucket_arn : null,
        ] : it if it != null]
      },
      {
        Effect = "Allow"
        Action = [
          "s3:BypassGovernanceRetention",
          "s3:DeleteObject",
          "s3:DeleteObjectVersion",
          "s3:GetObjectRetention",
        ]
        Resource = [for it in [
          "arn:${data.aws_partition.current.partition}:s3:::${var.bucket_name}/*",
          local.replica ? "${var.replica.bucket_arn}/*" : null,
        ] : it if it != null]
      },
    ]
  })
}
