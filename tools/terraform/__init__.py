"""Making and trying the OpenTofu and Terraform modules of ``infra/terraform``."""
