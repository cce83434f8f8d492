terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }

  # Partial: bucket, key, region and use_lockfile come with -backend-config at init.
  backend "s3" {}
}
