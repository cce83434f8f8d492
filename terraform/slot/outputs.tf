output "service_name" {
  description = "Name of the slot's ECS service."
  value       = aws_ecs_service.slot.name
}

output "service_arn" {
  description = "ARN of the slot's ECS service."
  value       = aws_ecs_service.slot.id
}

output "cluster_arn" {
  description = "ECS cluster that the service runs in."
  value       = aws_ecs_service.slot.cluster
}

output "task_definition_arn" {
  description = "Revision of the service's task definition that this release registered."
  value       = aws_ecs_task_definition.service.arn
}

output "migration_task_definition_arn" {
  description = "Revision of the migration's task definition that this release registered."
  value       = aws_ecs_task_definition.migration.arn
}
