# The machine's own role. By itself it changes nothing in AWS: it takes its stage's roles, and those release. Session
# Manager's rights are written out, because AmazonSSMManagedInstanceCore also reads every parameter of the account.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-add-permissions-to-existing-profile.html

locals {
  metric_namespace = "Pointsman"
  backup_prefix    = "control/${var.stage}"
  # Those that account makes: what releases into the stage, what cleans up there, and what only looks.
  taken_role_arns = [
    for role in ["${var.stage}-pipeline", "${var.stage}-reconciler", "operator"] :
    "arn:${local.partition}:iam::${var.aws_account_number}:role/${var.namespace}-${var.name}-${role}"
  ]
}

resource "aws_iam_role" "machine" {
  name                 = var.role_name
  description          = "The machine that releases into ${local.stage_prefix}: takes the roles of that stage"
  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_instance_profile" "machine" {
  name = var.role_name
  role = aws_iam_role.machine.name
}

resource "aws_iam_role_policy" "machine" {
  name = "machine"
  role = aws_iam_role.machine.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "TakeRolesOfStage"
          Effect   = "Allow"
          Action   = ["sts:AssumeRole"]
          Resource = local.taken_role_arns
        },
        {
          Sid      = "ReadOwnSecret"
          Effect   = "Allow"
          Action   = ["secretsmanager:GetSecretValue"]
          Resource = [aws_secretsmanager_secret.machine.arn]
        },
        {
          # None of these can be limited to a resource, save the first, whose resource is the instance itself.
          Sid    = "SessionManager"
          Effect = "Allow"
          Action = [
            "ssm:UpdateInstanceInformation",
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
          ]
          Resource = ["*"]
        },
        {
          Sid      = "WriteLogs"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = ["${aws_cloudwatch_log_group.machine.arn}:*"]
        },
        {
          Sid       = "ReportItself"
          Effect    = "Allow"
          Action    = ["cloudwatch:PutMetricData"]
          Resource  = ["*"]
          Condition = { StringEquals = { "cloudwatch:namespace" = local.metric_namespace } }
        },
      ],
      # Written, never read and never deleted: who breaks into the machine keeps the backups of before.
      var.backup_bucket == null ? [] : [{
        Sid      = "WriteBackups"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = ["arn:${local.partition}:s3:::${var.backup_bucket}/${local.backup_prefix}/*"]
      }],
    )
  })
}
