output "address" {
  description = "Public address of the machine: point host_name at it where zone_id is null."
  value       = aws_eip.machine.public_ip
}

output "test_listener_cidr" {
  description = "What [provision.environment] test_listener_cidrs of the environment must hold, or no release can be tested."
  value       = "${aws_eip.machine.public_ip}/32"
}

output "role_arn" {
  description = "Role of the machine: what [provision.account] pipeline_principal_arns must hold, or no release can act."
  value       = aws_iam_role.machine.arn
}

output "secret_name" {
  description = "Secret that a person gives its value: the passwords and the webhook's secret, as docs/control.md says."
  value       = aws_secretsmanager_secret.machine.name
}

output "webhook_url" {
  description = "Payload URL of the webhook in GitHub."
  value       = "https://${var.host_name}/webhooks/github"
}

output "ui_url" {
  description = "Prefect's UI, for operators."
  value       = "https://${var.host_name}"
}

output "instance_id" {
  description = "The instance, for a shell by Session Manager: aws ssm start-session --target <instance_id>."
  value       = aws_instance.machine.id
}

output "data_volume_id" {
  description = "The volume that outlives the machine."
  value       = aws_ebs_volume.data.id
}

output "log_group_name" {
  description = "CloudWatch log group of all containers."
  value       = aws_cloudwatch_log_group.machine.name
}
