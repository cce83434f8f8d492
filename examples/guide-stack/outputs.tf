output "alb_dns_name" {
  description = "What the application's name points at."
  value       = aws_lb.main.dns_name
}

output "ecr_repository_url" {
  description = "Where the workflow pushes images."
  value       = aws_ecr_repository.main.repository_url
}

output "github_actions_role_arn" {
  description = "What the workflow assumes; a secret of the GitHub repository."
  value       = aws_iam_role.github_actions.arn
}

output "nat_gateway_ip" {
  description = "What the database's inbound rule admits."
  value       = aws_eip.nat.public_ip
}
