# What the load balancer answered, and who spoke with whom in the VPC.

# ---- Access logs: a bucket of their own, since the load balancer writes to nothing else ----

locals {
  # A bucket's name is known everywhere and has 63 characters at most; a prefix that is too long ends in its own hash.
  access_log_prefix = length(local.prefix) <= 45 ? local.prefix : "${substr(local.prefix, 0, 36)}-${substr(sha256(local.prefix), 0, 8)}"
  access_log_bucket = "${local.access_log_prefix}-logs-${var.aws_account_number}"
  access_logs       = var.access_logs ? 1 : 0
}

resource "aws_s3_bucket" "access_logs" {
  #checkov:skip=CKV_AWS_18:it is where logs go; logs of its own would have to go to another one
  #checkov:skip=CKV_AWS_21:nothing in it is ever overwritten, and what expires shall be gone
  #checkov:skip=CKV_AWS_144:logs that expire are worth no copy in another region
  #checkov:skip=CKV_AWS_145:load balancers write to buckets with S3's own keys only
  #checkov:skip=CKV2_AWS_62:nobody waits for a log file
  count = local.access_logs

  bucket = local.access_log_bucket

  # A bucket that must be emptied by hand would stop `destroy` halfway; the plan that removes it is agreed to.
  force_destroy = true
}

resource "aws_s3_bucket_public_access_block" "access_logs" {
  count = local.access_logs

  bucket                  = aws_s3_bucket.access_logs[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "access_logs" {
  count = local.access_logs

  bucket = aws_s3_bucket.access_logs[0].id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "access_logs" {
  count = local.access_logs

  bucket = aws_s3_bucket.access_logs[0].id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = var.access_log_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
resource "aws_s3_bucket_policy" "access_logs" {
  count = local.access_logs

  bucket = aws_s3_bucket.access_logs[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # The path binds it to this account's load balancers. A condition on aws:SourceArn is not promised to be met.
        Sid       = "LoadBalancerWrites"
        Effect    = "Allow"
        Principal = { Service = "logdelivery.elasticloadbalancing.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "${aws_s3_bucket.access_logs[0].arn}/AWSLogs/${var.aws_account_number}/*"
      },
      {
        Sid       = "NoPlainHttp"
        Effect    = "Deny"
        Principal = "*"
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.access_logs[0].arn, "${aws_s3_bucket.access_logs[0].arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })

  depends_on = [aws_s3_bucket_public_access_block.access_logs]
}

# ---- Flow logs: to CloudWatch, since to a bucket AWS writes a policy of its own over ours ----
# https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-permissions.html

resource "aws_cloudwatch_log_group" "flow" {
  #checkov:skip=CKV_AWS_338:addresses and ports by the minute are of use for days, and cost by the day
  count = var.flow_logs ? 1 : 0

  name              = "${local.prefix}-flow"
  retention_in_days = var.flow_log_retention_days
}

resource "aws_flow_log" "main" {
  count = var.flow_logs ? 1 : 0

  vpc_id                   = aws_vpc.main.id
  traffic_type             = "ALL"
  log_destination          = aws_cloudwatch_log_group.flow[0].arn
  iam_role_arn             = aws_iam_role.flow[0].arn
  max_aggregation_interval = 600

  tags = { Name = local.prefix }
}

resource "aws_iam_role" "flow" {
  count = var.flow_logs ? 1 : 0

  name                 = "${local.prefix}-flow-logs"
  description          = "Writes the flow logs of ${local.prefix}"
  permissions_boundary = var.permissions_boundary_arn

  # https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = var.aws_account_number }
        ArnLike      = { "aws:SourceArn" = "arn:${data.aws_partition.current.partition}:ec2:${local.arn_suffix}:vpc-flow-log/*" }
      }
    }]
  })
}

resource "aws_iam_role_policy" "flow" {
  count = var.flow_logs ? 1 : 0

  name = "write-flow-logs"
  role = aws_iam_role.flow[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "WriteFlowLogs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.flow[0].arn}:*"]
      },
      {
        # Can't be limited to one group; it reads their names.
        Sid      = "FindLogGroup"
        Effect   = "Allow"
        Action   = ["logs:DescribeLogGroups"]
        Resource = ["arn:${data.aws_partition.current.partition}:logs:${local.arn_suffix}:log-group:*"]
      },
    ]
  })
}
