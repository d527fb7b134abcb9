# Written by `make generate` from infra/aws/custody.yaml, which has the reasons. Change it there.

output "region" {
  description = "region of [holder.<name>]"
  value       = data.aws_region.current.id
}

output "key_arn" {
  description = "key_id of [holder.<name>]; variable custody of the escrow module"
  value       = aws_kms_key.custody_key.arn
}
