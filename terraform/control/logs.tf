# Each of Pointsman's parts writes a stream of its name.
resource "aws_cloudwatch_log_group" "machine" {
  name              = local.prefix
  retention_in_days = var.log_retention_days
}
