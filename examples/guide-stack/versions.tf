terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }

  # Bucket, key and region come with -backend-config.
  backend "s3" {}
}

provider "aws" {
  region = var.region
}
