resource "aws_ecs_cluster" "main" {
  name = local.prefix

  setting {
    name  = "containerInsights"
    value = var.container_insights
  }
}

resource "aws_cloudwatch_log_group" "tasks" {
  name              = local.prefix
  retention_in_days = var.log_retention_days
}
