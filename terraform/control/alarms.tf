# The host has failed: EC2 moves the machine to another one, with its id, volumes and address.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/cloudwatch-recovery.html
resource "aws_cloudwatch_metric_alarm" "host" {
  alarm_name          = "${local.prefix}-host"
  alarm_description   = "The host of ${local.prefix} has failed; EC2 recovers the machine elsewhere"
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed_System"
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "missing"
  alarm_actions       = concat(["arn:${local.partition}:automate:${var.region}:ec2:recover"], sort(var.alarm_action_arns))
  ok_actions          = var.alarm_action_arns

  dimensions = { InstanceId = aws_instance.machine.id }
}

resource "aws_cloudwatch_metric_alarm" "system" {
  alarm_name          = "${local.prefix}-system"
  alarm_description   = "The operating system of ${local.prefix} does not answer; EC2 reboots it"
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed_Instance"
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 3
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "missing"
  alarm_actions       = concat(["arn:${local.partition}:automate:${var.region}:ec2:reboot"], sort(var.alarm_action_arns))
  ok_actions          = var.alarm_action_arns

  dimensions = { InstanceId = aws_instance.machine.id }
}

# The machine reports these itself, every five minutes: silence is a fault as well.
resource "aws_cloudwatch_metric_alarm" "reported" {
  for_each = {
    disk  = { metric = "DiskUsedPercent", threshold = 85, description = "A volume of ${local.prefix} is nearly full" }
    parts = { metric = "Unhealthy", threshold = 1, description = "A part of ${local.prefix} is not healthy, or does not run" }
  }

  alarm_name          = "${local.prefix}-${each.key}"
  alarm_description   = "${each.value.description}, or it reports nothing"
  namespace           = local.metric_namespace
  metric_name         = each.value.metric
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_action_arns
  ok_actions          = var.alarm_action_arns

  dimensions = { Machine = local.prefix }
}
