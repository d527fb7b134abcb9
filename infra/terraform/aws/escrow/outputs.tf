# Written by `make generate` from infra/aws/escrow.yaml, which has the reasons. Change it there.

output "region" {
  description = "region of [target.<name>]"
  value       = data.aws_region.current.id
}

output "bucket" {
  description = "bucket"
  value       = aws_s3_bucket.record_bucket.id
}

output "bucket_owner" {
  description = "expected_bucket_owner"
  value       = data.aws_caller_identity.current.account_id
}

output "prefix" {
  description = "prefix"
  value       = var.prefix
}

output "lock_mode" {
  description = "lock_mode"
  value       = var.lock_mode
}

output "lock_days" {
  description = "lock_days"
  value       = var.lock_days
}

output "record_key_arn" {
  description = "kms_key_id"
  value       = aws_kms_key.record_key.arn
}

output "writer_role_arn" {
  description = "role of the profile in [identity.writer.aws]; variable of the custody module and, for a replica that is a target, of the replica module"
  value       = aws_iam_role.writer.arn
}

output "driller_role_arn" {
  description = "role of the profile in [identity.driller.aws]; variable of the custody module and the replica module"
  value       = aws_iam_role.driller.arn
}

output "auditor_role_arn" {
  description = "role of the profile in [identity.auditor.aws]; variable of the custody module and the replica module"
  value       = aws_iam_role.auditor.arn
}

output "retention_role_arn" {
  description = "role of the profile in [identity.retention.aws]; variable of the replica module"
  value       = aws_iam_role.retention.arn
}

output "replication_role_arn" {
  description = "variable of the replica module"
  value       = aws_iam_role.replication.arn
}
