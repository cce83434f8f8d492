data "aws_partition" "current" {}

locals {
  prefix     = "${var.namespace}-${var.name}-${var.stage}"
  short_name = "${var.name}-${var.stage}"
  colours    = toset(["blue", "green"])
  arn_suffix = "${var.region}:${var.aws_account_number}"
}
