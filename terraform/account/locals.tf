data "aws_partition" "current" {}

locals {
  partition  = data.aws_partition.current.partition
  shared     = "${var.namespace}-${var.name}"
  scope      = "${var.region}:${var.aws_account_number}"
  repository = "arn:${local.partition}:ecr:${local.scope}:repository/${var.namespace}/${var.name}"
  bucket     = "arn:${local.partition}:s3:::${var.state_bucket}"

  # A stage of stage_repositories has a repository of its own, which no other stage's pipeline can write to; the others
  # share the one of before. Every stage may read that one: a release of before may be rolled back to.
  own_repositories = { for stage in var.stages : stage => "${local.repository}/${stage}" if contains(var.stage_repositories, stage) }
  pushed_to        = { for stage in var.stages : stage => lookup(local.own_repositories, stage, local.repository) }

  registry_login = {
    Sid      = "RegistryLogin"
    Effect   = "Allow"
    Action   = ["ecr:GetAuthorizationToken"]
    Resource = ["*"]
  }

  read_actions = ["ecr:BatchGetImage", "ecr:DescribeImageScanFindings", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer"]
  push_actions = [
    "ecr:BatchCheckLayerAvailability",
    "ecr:CompleteLayerUpload",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
  ]

  stage_push_statements = {
    for stage in var.stages : stage => [
      local.registry_login,
      {
        Sid      = "PushImages"
        Effect   = "Allow"
        Action   = local.push_actions
        Resource = [local.pushed_to[stage]]
      },
      {
        Sid      = "ReadImages"
        Effect   = "Allow"
        Action   = local.read_actions
        Resource = distinct([local.pushed_to[stage], local.repository])
      },
    ]
  }

  push_statements = [
    local.registry_login,
    {
      Sid      = "PushAndPullImages"
      Effect   = "Allow"
      Action   = sort(concat(local.push_actions, local.read_actions))
      Resource = [local.repository]
    },
  ]
}
