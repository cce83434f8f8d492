output "ecr_repository_name" {
  description = "Name of the image repository."
  value       = aws_ecr_repository.application.name
}

output "ecr_repository_url" {
  description = "Address of the image repository, as docker push takes it."
  value       = aws_ecr_repository.application.repository_url
}

output "ecr_repository_arn" {
  description = "ARN of the image repository."
  value       = aws_ecr_repository.application.arn
}

output "ecr_repository_urls" {
  description = "Address of the repository that each stage pushes to: its own for those of stage_repositories, else the shared one."
  value       = { for stage in var.stages : stage => try(aws_ecr_repository.stage[stage].repository_url, aws_ecr_repository.application.repository_url) }
}

output "github_actions_role_arn" {
  description = "Role of the repository's workflows in github_environment; null where none is set."
  value       = one(aws_iam_role.github_actions[*].arn)
}

output "operator_role_arn" {
  description = "Read-only role for operators."
  value       = aws_iam_role.operator.arn
}

output "pipeline_role_arns" {
  description = "Role of each stage's releases."
  value       = { for stage, role in aws_iam_role.pipeline : stage => role.arn }
}

output "reconciler_role_arns" {
  description = "Role of each stage's cleaning up: reconcile and retire."
  value       = { for stage, role in aws_iam_role.reconciler : stage => role.arn }
}

output "permissions_boundary_arn" {
  description = "Policy that bounds every role made here."
  value       = local.boundary_arn
}

output "task_permissions_boundary_arn" {
  description = "Policy that bounds the execution and task roles of every environment; null leaves them without."
  value       = local.task_boundary_arn
}
