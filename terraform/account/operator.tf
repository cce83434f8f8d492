resource "aws_iam_role" "operator" {
  name                 = "${local.shared}-operator"
  description          = "People and flows that watch ${local.shared}: read, nothing else"
  permissions_boundary = local.boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = sort(var.operator_principal_arns) }
      Action    = "sts:AssumeRole"
    }]
  })
}

# What `drift` reads to compare the account with Terraform's state: a refresh of all roots, and who changed what.
resource "aws_iam_role_policy" "operator_compares" {
  name = "compare"
  role = aws_iam_role.operator.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # None of these can be limited to a resource.
        Sid    = "LookAtTheNetwork"
        Effect = "Allow"
        Action = [
          "cloudtrail:LookupEvents",
          "ec2:DescribeAddresses",
          "ec2:DescribeAddressesAttribute",
          "ec2:DescribeFlowLogs",
          "ec2:DescribeInstanceAttribute",
          "ec2:DescribeInstanceCreditSpecifications",
          "ec2:DescribeInstanceTypes",
          "ec2:DescribeInstances",
          "ec2:DescribeInternetGateways",
          "ec2:DescribeNatGateways",
          "ec2:DescribeNetworkAcls",
          "ec2:DescribeNetworkInterfaces",
          "ec2:DescribePrefixLists",
          "ec2:DescribeRouteTables",
          "ec2:DescribeSecurityGroupRules",
          "ec2:DescribeSecurityGroups",
          "ec2:DescribeSubnets",
          "ec2:DescribeTags",
          "ec2:DescribeVolumes",
          "ec2:DescribeVpcAttribute",
          "ec2:DescribeVpcEndpoints",
          "ec2:DescribeVpcs",
          "elasticloadbalancing:DescribeCapacityReservation",
          "elasticloadbalancing:DescribeListenerAttributes",
          "elasticloadbalancing:DescribeLoadBalancerAttributes",
          "elasticloadbalancing:DescribeTags",
          "elasticloadbalancing:DescribeTargetGroupAttributes",
          "logs:DescribeLogGroups",
        ]
        Resource = ["*"]
      },
      {
        Sid      = "LookAtRoles"
        Effect   = "Allow"
        Action   = ["iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies"]
        Resource = ["arn:${local.partition}:iam::${var.aws_account_number}:role/${local.shared}-*"]
      },
      {
        Sid      = "LookAtTheBoundary"
        Effect   = "Allow"
        Action   = ["iam:GetPolicy", "iam:GetPolicyVersion", "iam:ListPolicyVersions"]
        Resource = ["arn:${local.partition}:iam::${var.aws_account_number}:policy/${local.shared}-*"]
      },
      {
        Sid      = "LookAtGitHubsProvider"
        Effect   = "Allow"
        Action   = ["iam:GetOpenIDConnectProvider"]
        Resource = ["arn:${local.partition}:iam::${var.aws_account_number}:oidc-provider/token.actions.githubusercontent.com"]
      },
      {
        # What a secret is called and who may read it, never what is in it.
        Sid      = "LookAtSecretsFromOutside"
        Effect   = "Allow"
        Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy"]
        Resource = ["arn:${local.partition}:secretsmanager:${local.scope}:secret:*"]
      },
      {
        Sid      = "LookAtRepositories"
        Effect   = "Allow"
        Action   = ["ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy", "ecr:ListTagsForResource"]
        Resource = concat([local.repository], values(local.own_repositories))
      },
      {
        Sid    = "LookAtTags"
        Effect = "Allow"
        Action = ["cloudwatch:ListTagsForResource", "ecs:ListTagsForResource", "logs:ListTagsForResource"]
        Resource = concat(
          ["arn:${local.partition}:cloudwatch:${local.scope}:alarm:*", "arn:${local.partition}:ecs:${local.scope}:task-definition/${local.shared}-*"],
          flatten([for stage in sort(var.stages) : [
            "arn:${local.partition}:ecs:${local.scope}:cluster/${local.shared}-${stage}",
            "arn:${local.partition}:ecs:${local.scope}:service/${local.shared}-${stage}/*",
            "arn:${local.partition}:logs:${local.scope}:log-group:${local.shared}-${stage}",
            "arn:${local.partition}:logs:${local.scope}:log-group:${local.shared}-${stage}:*",
            "arn:${local.partition}:logs:${local.scope}:log-group:${local.shared}-${stage}-flow",
          ]]),
        )
      },
      {
        # Of buckets that an environment makes; the objects in them are not read. HeadBucket asks for ListBucket.
        Sid    = "LookAtBuckets"
        Effect = "Allow"
        Action = [
          "s3:GetAccelerateConfiguration",
          "s3:GetBucketAcl",
          "s3:GetBucketCORS",
          "s3:GetBucketLogging",
          "s3:GetBucketObjectLockConfiguration",
          "s3:GetBucketPolicy",
          "s3:GetBucketPublicAccessBlock",
          "s3:GetBucketRequestPayment",
          "s3:GetBucketTagging",
          "s3:GetBucketVersioning",
          "s3:GetBucketWebsite",
          "s3:GetEncryptionConfiguration",
          "s3:GetLifecycleConfiguration",
          "s3:GetReplicationConfiguration",
          "s3:ListBucket",
        ]
        Resource = ["arn:${local.partition}:s3:::${substr(local.shared, 0, 36)}*-logs-${var.aws_account_number}"]
      },
      {
        # Amazon's own images, by the names that Amazon publishes.
        Sid      = "ReadPublicParameters"
        Effect   = "Allow"
        Action   = ["ssm:GetParameter"]
        Resource = ["arn:${local.partition}:ssm:${var.region}::parameter/aws/service/*"]
      },
      {
        Sid      = "ReadStates"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = concat(["${local.bucket}/terraform/account.tfstate"], [for stage in sort(var.stages) : "${local.bucket}/terraform/${stage}/*.tfstate"])
      },
      {
        Sid       = "ListStates"
        Effect    = "Allow"
        Action    = ["s3:ListBucket"]
        Resource  = [local.bucket]
        Condition = { StringLike = { "s3:prefix" = ["env:/*", "terraform/*"] } }
      },
    ]
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
        Resource = concat([local.repository], values(local.own_repositories))
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
