resource "aws_iam_role" "operator" {
  name        = "${local.shared}-operator"
  description = "People who watch ${local.shared}: read, nothing else"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = sort(var.operator_principal_arns) }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "operator" {
  name = "read"
  role = aws_iam_role.operator.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # None of these can be limited to a resource.
        Sid    = "SeeLoadBalancersAndAlarms"
        Effect = "Allow"
        Action = [
          "cloudwatch:GetMetricData",
          "cloudwatch:ListMetrics",
          "ecs:DescribeTaskDefinition",
          "ecs:ListClusters",
          "ecs:ListTaskDefinitions",
          "elasticloadbalancing:DescribeListeners",
          "elasticloadbalancing:DescribeLoadBalancers",
          "elasticloadbalancing:DescribeRules",
          "elasticloadbalancing:DescribeTargetGroups",
          "elasticloadbalancing:DescribeTargetHealth",
        ]
        Resource = ["*"]
      },
      {
        Sid      = "SeeAlarms"
        Effect   = "Allow"
        Action   = ["cloudwatch:DescribeAlarms"]
        Resource = ["arn:${local.partition}:cloudwatch:${local.scope}:alarm:*"]
      },
      {
        Sid    = "SeeServicesAndTasks"
        Effect = "Allow"
        Action = ["ecs:DescribeClusters", "ecs:DescribeServices", "ecs:DescribeTasks"]
        Resource = flatten([for stage in sort(var.stages) : [
          "arn:${local.partition}:ecs:${local.scope}:cluster/${local.shared}-${stage}",
          "arn:${local.partition}:ecs:${local.scope}:service/${local.shared}-${stage}/*",
          "arn:${local.partition}:ecs:${local.scope}:task/${local.shared}-${stage}/*",
        ]])
      },
      {
        Sid       = "ListServicesAndTasks"
        Effect    = "Allow"
        Action    = ["ecs:ListServices", "ecs:ListTasks"]
        Resource  = ["*"]
        Condition = { ArnEquals = { "ecs:cluster" = [for stage in sort(var.stages) : "arn:${local.partition}:ecs:${local.scope}:cluster/${local.shared}-${stage}"] } }
      },
      {
        Sid    = "ReadLogs"
        Effect = "Allow"
        Action = ["logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:GetLogEvents"]
        Resource = flatten([for stage in sort(var.stages) : [
          "arn:${local.partition}:logs:${local.scope}:log-group:${local.shared}-${stage}",
          "arn:${local.partition}:logs:${local.scope}:log-group:${local.shared}-${stage}:*",
        ]])
      },
      {
        Sid      = "SeeImages"
        Effect   = "Allow"
        Action   = ["ecr:DescribeImageScanFindings", "ecr:DescribeImages", "ecr:DescribeRepositories", "ecr:ListImages"]
        Resource = [local.repository]
      },
      {
        Sid      = "ReadReleaseRecords"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion"]
        Resource = ["${local.bucket}/releases/*"]
      },
      {
        Sid       = "ListReleaseRecords"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [local.bucket]
        Condition = { StringLike = { "s3:prefix" = ["releases/*"] } }
      },
    ]
  })
}
