# Only the addresses: this data source doesn't read a secret's value, so none reaches the state.
data "aws_secretsmanager_secret" "task" {
  for_each = var.secret_names

  name = each.key
}

locals {
  # Those of another account are known by their ARN: nothing here may ask that account for it.
  secret_arns = merge(
    { for name, secret in data.aws_secretsmanager_secret.task : name => secret.arn },
    { for arn in var.secret_arns : arn => arn },
  )

  # No data source: it would read the value into the state.
  parameter_arns = { for name in var.parameter_names : name =>
    startswith(name, "arn:") ? name : "arn:${data.aws_partition.current.partition}:ssm:${local.arn_suffix}:parameter/${trimprefix(name, "/")}"
  }

  # Those in a registry of ECR, in any account; public ones need no right.
  sidecar_repository_arns = [for parts in flatten([for address in sort(var.sidecar_repositories) :
    [for found in regexall("^([0-9]{12})[.]dkr[.]ecr[.]([a-z0-9-]+)[.]amazonaws[.]com(?:[.]cn)?/(.+)$", address) : { account = found[0], region = found[1], name = found[2] }]
  ]) : "arn:${data.aws_partition.current.partition}:ecr:${parts.region}:${parts.account}:repository/${parts.name}"]

  # Against a confused deputy: ECS acts for this account's tasks only.
  tasks_trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = var.aws_account_number }
        ArnLike      = { "aws:SourceArn" = "arn:${data.aws_partition.current.partition}:ecs:${local.arn_suffix}:*" }
      }
    }]
  })
}

# ---- Execution role: what ECS needs to start a task ----

resource "aws_iam_role" "execution" {
  name                 = "${local.prefix}-execution"
  description          = "Pulls the image, reads the named secrets and writes the logs of ${local.prefix}"
  assume_role_policy   = local.tasks_trust
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "execution" {
  name = "start-tasks"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "RegistryLogin"
          Effect   = "Allow"
          Action   = ["ecr:GetAuthorizationToken"]
          Resource = ["*"]
        },
        {
          Sid    = "PullImage"
          Effect = "Allow"
          Action = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
          # The stage's own repository, and the one of before stages had their own: a rollback may go back to it.
          Resource = concat(
            [for repository in ["${var.namespace}/${var.name}", "${var.namespace}/${var.name}/${var.stage}"] :
              "arn:${data.aws_partition.current.partition}:ecr:${local.arn_suffix}:repository/${repository}"
            ],
            local.sidecar_repository_arns,
          )
        },
        {
          Sid      = "WriteLogs"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = ["arn:${data.aws_partition.current.partition}:logs:${local.arn_suffix}:log-group:${local.prefix}:*"]
        },
      ],
      length(local.secret_arns) == 0 ? [] : [
        {
          Sid      = "ReadSecrets"
          Effect   = "Allow"
          Action   = ["secretsmanager:GetSecretValue"]
          Resource = values(local.secret_arns)
        },
      ],
      length(local.parameter_arns) == 0 ? [] : [
        {
          Sid      = "ReadParameters"
          Effect   = "Allow"
          Action   = ["ssm:GetParameters"]
          Resource = values(local.parameter_arns)
        },
      ],
      length(var.secret_key_arns) == 0 ? [] : [
        {
          Sid       = "DecryptSecrets"
          Effect    = "Allow"
          Action    = ["kms:Decrypt"]
          Resource  = sort(var.secret_key_arns)
          Condition = { StringEquals = { "kms:ViaService" = [for service in ["secretsmanager", "ssm"] : "${service}.${var.region}.amazonaws.com"] } }
        },
      ],
    )
  })
}

# ---- Task role: the application's own; it may do nothing until it is given something ----

resource "aws_iam_role" "task" {
  name                 = "${local.prefix}-task"
  description          = "The application in ${local.prefix}"
  assume_role_policy   = local.tasks_trust
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "task" {
  for_each = var.task_policy_arns

  role       = aws_iam_role.task.name
  policy_arn = each.value
}
