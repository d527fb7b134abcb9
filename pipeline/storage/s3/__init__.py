"""S3 with Object Lock."""
