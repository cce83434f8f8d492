# A stage's pipeline role can make one release: its images, its two slots, its weights, its records. It writes no
# network and no IAM, and cannot ask for a secret. What it starts is given the stage's secrets by ECS, though: whoever has
# this role can have a task print them. docs/roles.md says of each role what it can do in effect.

locals {
  pipelines = {
    for stage in var.stages : stage => {
      prefix   = "${local.shared}-${stage}"
      cluster  = "arn:${local.partition}:ecs:${local.scope}:cluster/${local.shared}-${stage}"
      services = [for colour in ["blue", "green"] : "arn:${local.partition}:ecs:${local.scope}:service/${local.shared}-${stage}/${var.name}-${stage}-${colour}"]
      tasks    = "arn:${local.partition}:ecs:${local.scope}:task/${local.shared}-${stage}/*"
      definitions = [for family in ["blue", "green", "blue-migration", "green-migration"] :
        "arn:${local.partition}:ecs:${local.scope}:task-definition/${local.shared}-${stage}-${family}:*"
      ]
      migrations = [for colour in ["blue", "green"] :
        "arn:${local.partition}:ecs:${local.scope}:task-definition/${local.shared}-${stage}-${colour}-migration:*"
      ]
      states     = [for colour in ["blue", "green"] : "${local.bucket}/terraform/${stage}/slot-${colour}.tfstate"]
      principals = sort(lookup(var.stage_principal_arns, stage, var.pipeline_principal_arns))
    }
  }

  # What the pipeline and the reconciler of a stage may both do with its slots.
  slot_statements = {
    for stage, pipeline in local.pipelines : stage => [
      {
        # On any resource, as AWS authorizes it: what a definition can do is bounded by PassTaskRoles, and what can be run
        # by MoveSlots and RunMigrations.
        Sid      = "RegisterAndReadTaskDefinitions"
        Effect   = "Allow"
        Action   = ["ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"]
        Resource = ["*"]
      },
      {
        Sid       = "MoveSlots"
        Effect    = "Allow"
        Action    = ["ecs:DescribeServices", "ecs:UpdateService"]
        Resource  = pipeline.services
        Condition = { ArnEquals = { "ecs:cluster" = pipeline.cluster } }
      },
      {
        Sid       = "StopAndSeeTasks"
        Effect    = "Allow"
        Action    = ["ecs:DescribeTasks", "ecs:StopTask"]
        Resource  = [pipeline.tasks]
        Condition = { ArnEquals = { "ecs:cluster" = pipeline.cluster } }
      },
      {
        Sid       = "ListTasks"
        Effect    = "Allow"
        Action    = ["ecs:ListTasks"]
        Resource  = ["*"]
        Condition = { ArnEquals = { "ecs:cluster" = pipeline.cluster } }
      },
      {
        Sid       = "TagDefinitions"
        Effect    = "Allow"
        Action    = ["ecs:TagResource"]
        Resource  = pipeline.definitions
        Condition = { StringEquals = { "ecs:CreateAction" = ["RegisterTaskDefinition"] } }
      },
      {
        Sid    = "PassTaskRoles"
        Effect = "Allow"
        Action = ["iam:PassRole"]
        Resource = [for role in ["execution", "task"] :
          "arn:${local.partition}:iam::${var.aws_account_number}:role/${pipeline.prefix}-${role}"
        ]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
      {
        Sid      = "ReadTaskLogs"
        Effect   = "Allow"
        Action   = ["logs:DescribeLogStreams", "logs:GetLogEvents"]
        Resource = ["arn:${local.partition}:logs:${local.scope}:log-group:${pipeline.prefix}", "arn:${local.partition}:logs:${local.scope}:log-group:${pipeline.prefix}:*"]
      },
    ]
  }

  # Refused, rather than left out of what is allowed: a call that lacks one of these keys must not be refused for it.
  # RunTask has no key for the address.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
  bound_statements = [
    {
      Sid       = "NoPublicAddress"
      Effect    = "Deny"
      Action    = ["ecs:CreateService", "ecs:UpdateService"]
      Resource  = ["*"]
      Condition = { StringEquals = { "ecs:auto-assign-public-ip" = ["true", "ENABLED"] } }
    },
    {
      Sid       = "NoShellInTasks"
      Effect    = "Deny"
      Action    = ["ecs:CreateService", "ecs:RunTask", "ecs:UpdateService"]
      Resource  = ["*"]
      Condition = { StringEquals = { "ecs:enable-execute-command" = "true" } }
    },
  ]

  traffic_statements = {
    for stage, pipeline in local.pipelines : stage => [
      {
        Sid      = "MoveWeights"
        Effect   = "Allow"
        Action   = ["elasticloadbalancing:ModifyListener"]
        Resource = ["arn:${local.partition}:elasticloadbalancing:${local.scope}:listener/app/${var.name}-${stage}/*/*"]
      },
      {
        Sid      = "SetHealthCheckPaths"
        Effect   = "Allow"
        Action   = ["elasticloadbalancing:ModifyTargetGroup"]
        Resource = [for colour in ["blue", "green"] : "arn:${local.partition}:elasticloadbalancing:${local.scope}:targetgroup/${var.name}-${stage}-${colour}/*"]
      },
      {
        # None of these can be limited to a resource.
        Sid    = "SeeLoadBalancers"
        Effect = "Allow"
        Action = [
          "elasticloadbalancing:DescribeListeners",
          "elasticloadbalancing:DescribeLoadBalancers",
          "elasticloadbalancing:DescribeRules",
          "elasticloadbalancing:DescribeTargetGroups",
          "elasticloadbalancing:DescribeTargetHealth",
        ]
        Resource = ["*"]
      },
    ]
  }

  state_statements = {
    for stage, pipeline in local.pipelines : stage => [
      {
        Sid      = "WriteSlotStates"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
        Resource = pipeline.states
      },
      {
        Sid      = "LockSlotStates"
        Effect   = "Allow"
        Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        Resource = [for state in pipeline.states : "${state}.tflock"]
      },
      {
        Sid      = "ReadEnvironmentState"
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["${local.bucket}/terraform/${stage}/environment.tfstate"]
      },
      {
        # Of a `provision` that died: `reconcile` releases it, and so does a release that comes next.
        Sid      = "ReleaseEnvironmentLock"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:DeleteObject"]
        Resource = ["${local.bucket}/terraform/${stage}/environment.tfstate.tflock"]
      },
      {
        Sid      = "WriteReleaseRecords"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"]
        Resource = ["${local.bucket}/releases/${stage}/*"]
      },
      {
        # env:/ because terraform init lists workspaces there; without the right to list, S3 answers 403 for an
        # object that doesn't exist yet, where Terraform and the records need its 404.
        Sid       = "ListStatesAndRecords"
        Effect    = "Allow"
        Action    = ["s3:ListBucket", "s3:ListBucketVersions"]
        Resource  = [local.bucket]
        Condition = { StringLike = { "s3:prefix" = ["env:/*", "terraform/${stage}/*", "releases/${stage}/*"] } }
      },
    ]
  }
}

# ---- Pipeline: what releases ----

resource "aws_iam_role" "pipeline" {
  for_each = local.pipelines

  name                 = "${each.value.prefix}-pipeline"
  description          = "Releases into ${each.value.prefix}"
  permissions_boundary = local.boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { AWS = each.value.principals }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "pipeline_images" {
  for_each = local.pipelines

  name   = "images"
  role   = aws_iam_role.pipeline[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.stage_push_statements[each.key] })
}

resource "aws_iam_role_policy" "pipeline_slots" {
  for_each = local.pipelines

  name = "slots"
  role = aws_iam_role.pipeline[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.slot_statements[each.key], [
      {
        Sid       = "MakeSlots"
        Effect    = "Allow"
        Action    = ["ecs:CreateService"]
        Resource  = each.value.services
        Condition = { ArnEquals = { "ecs:cluster" = each.value.cluster } }
      },
      {
        Sid       = "TagSlots"
        Effect    = "Allow"
        Action    = ["ecs:TagResource"]
        Resource  = each.value.services
        Condition = { StringEquals = { "ecs:CreateAction" = ["CreateService"] } }
      },
      {
        Sid       = "RunMigrations"
        Effect    = "Allow"
        Action    = ["ecs:RunTask"]
        Resource  = each.value.migrations
        Condition = { ArnEquals = { "ecs:cluster" = each.value.cluster } }
      },
    ])
  })
}

resource "aws_iam_role_policy" "pipeline_bounds" {
  for_each = local.pipelines

  name   = "bounds"
  role   = aws_iam_role.pipeline[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.bound_statements })
}

resource "aws_iam_role_policy" "pipeline_traffic" {
  for_each = local.pipelines

  name   = "traffic"
  role   = aws_iam_role.pipeline[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.traffic_statements[each.key] })
}

resource "aws_iam_role_policy" "pipeline_state" {
  for_each = local.pipelines

  name   = "state-and-records"
  role   = aws_iam_role.pipeline[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.state_statements[each.key] })
}
