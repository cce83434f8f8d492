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
