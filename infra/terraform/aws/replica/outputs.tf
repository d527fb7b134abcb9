# Written by `make generate` from infra/aws/replica.yaml, which has the reasons. Change it there.

output "region" {
  description = "region of the replica as a target of its own"
  value       = data.aws_region.current.id
}

output "bucket" {
  description = "bucket"
  value       = aws_s3_bucket.replica_bucket.id
}

output "bucket_arn" {
  description = "variable replica of the escrow module"
  value       = aws_s3_bucket.replica_bucket.arn
}

output "key_arn" {
  description = "variable replica of the escrow module"
  value       = aws_kms_key.replica_key.arn
}
