# A role by which workflows of the application's repository may push images. No release needs it: it exists only where
# github_environment is set, and then only jobs of that GitHub environment come in. What they push is released only
# where an environment's image_source is prebuilt, and then by the digest that a git tag records.

locals {
  github_wanted            = var.github_environment != null
  github_oidc_provider_arn = var.github_oidc_provider_arn != null ? var.github_oidc_provider_arn : one(aws_iam_openid_connect_provider.github[*].arn)
}

resource "aws_iam_openid_connect_provider" "github" {
  count = local.github_wanted && var.github_oidc_provider_arn == null ? 1 : 0

  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "github_actions" {
  count = local.github_wanted ? 1 : 0

  name                 = "${local.shared}-github-actions"
  permissions_boundary = local.boundary_arn
  description          = "Workflows of ${var.github_repository} in its environment ${var.github_environment}: push images, nothing else"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Federated = local.github_oidc_provider_arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = merge(
          {
            "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
            "token.actions.githubusercontent.com:sub" = "repo:${var.github_repository}:environment:${var.github_environment}"
          },
          var.github_repository_id == null ? {} : { "token.actions.githubusercontent.com:repository_id" = var.github_repository_id },
        )
      }
    }]
  })
}

resource "aws_iam_role_policy" "github_actions" {
  count = local.github_wanted ? 1 : 0

  name   = "push-images"
  role   = aws_iam_role.github_actions[0].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.push_statements })
}
