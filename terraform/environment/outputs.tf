# ---- Addresses ----

output "alb_dns_name" {
  description = "DNS name of the load balancer: what the application's own name points at."
  value       = aws_lb.main.dns_name
}

output "nat_gateway_ip" {
  description = "Public address from which the tasks go out, to be admitted by a database outside the VPC: the first where there are several, null where nat is none."
  value       = try(aws_eip.nat[0].public_ip, null)
}

output "nat_ips" {
  description = "All public addresses from which the tasks go out, one a NAT: a database outside the VPC admits each."
  value       = aws_eip.nat[*].public_ip
}

# ---- Traffic ----

output "alb_arn" {
  description = "ARN of the load balancer."
  value       = aws_lb.main.arn
}

output "alb_name" {
  description = "Name of the load balancer."
  value       = aws_lb.main.name
}

output "production_listener_arn" {
  description = "The listener whose weights decide who is live: HTTPS if there is a certificate, else HTTP."
  value       = one(concat(aws_lb_listener.https[*].arn, var.certificate_arn == null ? aws_lb_listener.http_forward[*].arn : []))
}

output "production_listener_port" {
  description = "Port of the production listener."
  value       = var.certificate_arn == null ? var.production_listener_port : 443
}

output "http_forward_listener_arn" {
  description = "The HTTP listener that still forwards beside the HTTPS one, between the two applies of going to HTTPS; else null. While it is not null, it carries traffic by weights of its own."
  value       = var.certificate_arn == null ? null : one(aws_lb_listener.http_forward[*].arn)
}

output "test_listener_arns" {
  description = "ARN of each colour's test listener."
  value       = { for colour, listener in aws_lb_listener.test : colour => listener.arn }
}

output "test_listener_ports" {
  description = "Port of each colour's test listener."
  value       = { for colour, listener in aws_lb_listener.test : colour => listener.port }
}

output "target_group_arns" {
  description = "ARN of each colour's target group."
  value       = { for colour, group in aws_lb_target_group.colour : colour => group.arn }
}

output "alarm_names" {
  description = "Names of each colour's alarms."
  value = {
    for colour in local.colours : colour => [
      aws_cloudwatch_metric_alarm.target_5xx[colour].alarm_name,
      aws_cloudwatch_metric_alarm.unhealthy_hosts[colour].alarm_name,
    ]
  }
}

# ---- What a slot is made of ----

output "vpc_id" {
  description = "VPC of the environment."
  value       = aws_vpc.main.id
}

output "private_subnet_ids" {
  description = "Subnets that the tasks run in, one in each zone of theirs."
  value       = [for zone in local.task_zones : aws_subnet.private[zone].id]
}

output "task_security_group_id" {
  description = "Security group of the tasks."
  value       = aws_security_group.tasks.id
}

output "cluster_arn" {
  description = "ARN of the ECS cluster."
  value       = aws_ecs_cluster.main.arn
}

output "cluster_name" {
  description = "Name of the ECS cluster."
  value       = aws_ecs_cluster.main.name
}

output "execution_role_arn" {
  description = "Role with which ECS starts the tasks."
  value       = aws_iam_role.execution.arn
}

output "task_role_arn" {
  description = "Role that the application itself has."
  value       = aws_iam_role.task.arn
}

output "log_group_name" {
  description = "Log group of the tasks."
  value       = aws_cloudwatch_log_group.tasks.name
}

output "access_log_bucket" {
  description = "Bucket of the load balancer's access logs; null where there are none."
  value       = one(aws_s3_bucket.access_logs[*].id)
}

output "flow_log_group_name" {
  description = "Log group of the VPC's flow logs; null where there are none."
  value       = one(aws_cloudwatch_log_group.flow[*].name)
}

output "parameter_arns" {
  description = "ARN of each parameter of SSM that the tasks may read, by what names it."
  value       = local.parameter_arns
}

output "secret_arns" {
  description = "ARN of each secret that the tasks may read, by name, or by ARN where it is another account's."
  value       = local.secret_arns
}
