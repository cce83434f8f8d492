# A snapshot of the data volume each day. Postgres is on that one volume, so a snapshot is what a power cut would leave:
# it recovers by its own log.

resource "aws_iam_role" "snapshots" {
  name                 = "${local.prefix}-snapshots"
  description          = "Makes and deletes the daily snapshots of ${local.prefix}"
  permissions_boundary = var.permissions_boundary_arn

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "dlm.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.aws_account_number } }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "snapshots" {
  role       = aws_iam_role.snapshots.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AWSDataLifecycleManagerServiceRole"
}

resource "aws_dlm_lifecycle_policy" "data" {
  description        = "Daily snapshots of the data volume of ${local.prefix}"
  execution_role_arn = aws_iam_role.snapshots.arn
  state              = "ENABLED"

  policy_details {
    resource_types = ["VOLUME"]
    target_tags    = { Snapshots = local.prefix }

    schedule {
      name      = "daily"
      copy_tags = true

      create_rule {
        interval      = 24
        interval_unit = "HOURS"
        times         = [var.snapshot_time]
      }

      retain_rule {
        count = var.snapshot_days
      }
    }
  }

  tags = { Name = "${local.prefix}-data" }

  depends_on = [aws_iam_role_policy_attachment.snapshots]
}
