# Written by `make generate` from infra/aws/escrow.yaml, which has the reasons. Change it there.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}
