# The most that any role made here can ever do, whatever policy somebody attaches to it. An identity that provisions can be
# held to making roles under it: docs/roles.md.

locals {
  own_boundary      = var.permissions_boundary_arn == null
  boundary_arn      = local.own_boundary ? aws_iam_policy.boundary[0].arn : var.permissions_boundary_arn
  secret_accounts   = concat([var.aws_account_number], sort(setsubtract(var.secret_account_numbers, [var.aws_account_number])))
  task_boundary_arn = local.own_boundary && var.application_actions == null ? null : local.boundary_arn
}

resource "aws_iam_policy" "boundary" {
  count = local.own_boundary ? 1 : 0

  name        = "${local.shared}-boundary"
  description = "The most that the roles of ${local.shared} can do"

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          # Each role's own policies say on what; here it is which actions there are at all.
          Sid    = "ReleaseAndWatch"
          Effect = "Allow"
          Action = [
            "cloudwatch:DescribeAlarms",
            "cloudwatch:GetMetricData",
            "cloudwatch:ListMetrics",
            "ecr:BatchCheckLayerAvailability",
            "ecr:BatchGetImage",
            "ecr:CompleteLayerUpload",
            "ecr:Describe*",
            "ecr:GetAuthorizationToken",
            "ecr:GetDownloadUrlForLayer",
            "ecr:InitiateLayerUpload",
            "ecr:ListImages",
            "ecr:PutImage",
            "ecr:UploadLayerPart",
            "ecs:CreateService",
            "ecs:Describe*",
            "ecs:List*",
            "ecs:RegisterTaskDefinition",
            "ecs:RunTask",
            "ecs:StopTask",
            "ecs:TagResource",
            "ecs:UpdateService",
            "elasticloadbalancing:Describe*",
            "elasticloadbalancing:ModifyListener",
            "elasticloadbalancing:ModifyTargetGroup",
            "logs:CreateLogStream",
            "logs:Describe*",
            "logs:FilterLogEvents",
            "logs:GetLogEvents",
            "logs:PutLogEvents",
          ]
          Resource = ["*"]
        },
        {
          Sid      = "StateAndRecords"
          Effect   = "Allow"
          Action   = ["s3:DeleteObject", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:ListBucketVersions", "s3:PutObject"]
          Resource = [local.bucket, "${local.bucket}/*"]
        },
        {
          Sid      = "SeeBucketsOfLogs"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = ["arn:${local.partition}:s3:::${substr(local.shared, 0, 36)}*-logs-${var.aws_account_number}"]
        },
        {
          Sid      = "ReadSecretsOfTasks"
          Effect   = "Allow"
          Action   = ["secretsmanager:GetSecretValue"]
          Resource = [for account in local.secret_accounts : "arn:${local.partition}:secretsmanager:${var.region}:${account}:secret:*"]
        },
        {
          Sid      = "ReadParametersOfTasks"
          Effect   = "Allow"
          Action   = ["ssm:GetParameters"]
          Resource = [for account in local.secret_accounts : "arn:${local.partition}:ssm:${var.region}:${account}:parameter/*"]
        },
        {
          Sid    = "PassTaskRoles"
          Effect = "Allow"
          Action = ["iam:PassRole"]
          Resource = flatten([for stage in sort(var.stages) : [for role in ["execution", "task"] :
            "arn:${local.partition}:iam::${var.aws_account_number}:role/${local.shared}-${stage}-${role}"
          ]])
          Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
        },
      ],
      [
        {
          Sid    = "CompareWithTheAccount"
          Effect = "Allow"
          Action = [
            "cloudtrail:LookupEvents",
            "cloudwatch:ListTagsForResource",
            "ec2:Describe*",
            "ecr:GetLifecyclePolicy",
            "ecr:GetRepositoryPolicy",
            "ecr:ListTagsForResource",
            "iam:Get*",
            "iam:List*",
            "logs:ListTagsForResource",
            "s3:GetAccelerateConfiguration",
            "s3:GetBucket*",
            "s3:GetEncryptionConfiguration",
            "s3:GetLifecycleConfiguration",
            "s3:GetReplicationConfiguration",
            "secretsmanager:DescribeSecret",
            "secretsmanager:GetResourcePolicy",
            "ssm:GetParameter",
          ]
          Resource = ["*"]
        },
      ],
      length(var.secret_key_arns) == 0 ? [] : [
        {
          Sid       = "DecryptSecretsOfTasks"
          Effect    = "Allow"
          Action    = ["kms:Decrypt"]
          Resource  = sort(var.secret_key_arns)
          Condition = { StringEquals = { "kms:ViaService" = [for service in ["secretsmanager", "ssm"] : "${service}.${var.region}.amazonaws.com"] } }
        },
      ],
      length(coalesce(var.application_actions, [])) == 0 ? [] : [
        {
          Sid      = "TheApplicationsOwn"
          Effect   = "Allow"
          Action   = sort(var.application_actions)
          Resource = ["*"]
        },
      ],
    )
  })
}
