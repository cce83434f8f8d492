provider "aws" {
  region              = var.region
  allowed_account_ids = [var.aws_account_number]

  default_tags {
    tags = merge(var.tags, {
      Namespace   = var.namespace
      Application = var.name
      Stage       = var.stage
      ManagedBy   = "terraform/environment"
    })
  }
}
