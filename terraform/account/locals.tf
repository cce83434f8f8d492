data "aws_partition" "current" {}

locals {
  partition  = data.aws_partition.current.partition
  shared     = "${var.namespace}-${var.name}"
  scope      = "${var.region}:${var.aws_account_number}"
  repository = "arn:${local.partition}:ecr:${local.scope}:repository/${var.namespace}/${var.name}"
  bucket     = "arn:${local.partition}:s3:::${var.state_bucket}"

  push_statements = [
    {
      Sid      = "RegistryLogin"
      Effect   = "Allow"
      Action   = ["ecr:GetAuthorizationToken"]
      Resource = ["*"]
    },
    {
      Sid    = "PushAndPullImages"
      Effect = "Allow"
      Action = [
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:CompleteLayerUpload",
        "ecr:DescribeImageScanFindings",
        "ecr:DescribeImages",
        "ecr:DescribeRepositories",
        "ecr:GetDownloadUrlForLayer",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
      ]
      Resource = [local.repository]
    },
  ]
}
