data "aws_partition" "current" {}

locals {
  partition    = data.aws_partition.current.partition
  stage_prefix = "${var.namespace}-${var.name}-${var.stage}"
  prefix       = "${local.stage_prefix}-control"
}
