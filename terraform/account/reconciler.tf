# A stage's reconciler role cleans up after a run that died, completes a rollback that was begun, and retires the old
# colour. It has no right on images, starts no migration and makes no service, so it can bring no new version. A rollback to a
# cold target registers its definition again, so the rights on definitions and slot states are the pipeline's; which way
# traffic moves, IAM cannot tell.

resource "aws_iam_role" "reconciler" {
  for_each = local.pipelines

  name                 = "${each.value.prefix}-reconciler"
  description          = "Cleans up, completes rollbacks and retires the old colour in ${each.value.prefix}"
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

resource "aws_iam_role_policy" "reconciler_slots" {
  for_each = local.pipelines

  name   = "slots"
  role   = aws_iam_role.reconciler[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.slot_statements[each.key] })
}

resource "aws_iam_role_policy" "reconciler_bounds" {
  for_each = local.pipelines

  name   = "bounds"
  role   = aws_iam_role.reconciler[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.bound_statements })
}

resource "aws_iam_role_policy" "reconciler_traffic" {
  for_each = local.pipelines

  name   = "traffic"
  role   = aws_iam_role.reconciler[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.traffic_statements[each.key] })
}

resource "aws_iam_role_policy" "reconciler_state" {
  for_each = local.pipelines

  name   = "state-and-records"
  role   = aws_iam_role.reconciler[each.key].id
  policy = jsonencode({ Version = "2012-10-17", Statement = local.state_statements[each.key] })
}
