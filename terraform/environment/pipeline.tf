# What the stage's pipeline and reconciler roles may do with this very network and these listeners. The roles and all their
# rights are account's; only here are the subnets and listeners known. Each statement of `place` refuses: a call that lacks a key is not meant.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html

locals {
  # The listeners whose weights a release moves, by the protocol that each keeps.
  weighted_listeners = merge(
    { for listener in aws_lb_listener.http_forward : "HTTP" => listener.arn },
    { for listener in aws_lb_listener.https : "HTTPS" => listener.arn },
  )

  bound_roles = { for role, name in { pipeline = var.pipeline_role_name, reconciler = var.reconciler_role_name } : role => name if name != null }

  place = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          # RunTask knows neither ecs:subnet nor ecs:auto-assign-public-ip, so it cannot be bound like this.
          Sid       = "OwnSubnetsOnly"
          Effect    = "Deny"
          Action    = ["ecs:CreateService", "ecs:UpdateService"]
          Resource  = ["*"]
          Condition = { "ForAnyValue:StringNotEquals" = { "ecs:subnet" = [for zone in sort(keys(local.zones)) : aws_subnet.private[zone].id] } }
        },
        {
          Sid         = "WeightedListenersOnly"
          Effect      = "Deny"
          Action      = ["elasticloadbalancing:ModifyListener"]
          NotResource = values(local.weighted_listeners)
        },
      ],
      # Of the content of a listener IAM knows no more than this; another action on it is seen, and freezes.
      [
        for protocol, arn in local.weighted_listeners : {
          Sid      = "Keep${protocol}"
          Effect   = "Deny"
          Action   = ["elasticloadbalancing:ModifyListener"]
          Resource = [arn]
          Condition = {
            Null            = { "elasticloadbalancing:ListenerProtocol" = "false" }
            StringNotEquals = { "elasticloadbalancing:ListenerProtocol" = protocol }
          }
        }
      ],
      [
        for listener in aws_lb_listener.https : {
          Sid      = "KeepTlsPolicy"
          Effect   = "Deny"
          Action   = ["elasticloadbalancing:ModifyListener"]
          Resource = [listener.arn]
          Condition = {
            Null            = { "elasticloadbalancing:SecurityPolicy" = "false" }
            StringNotEquals = { "elasticloadbalancing:SecurityPolicy" = listener.ssl_policy }
          }
        }
      ],
    )
  })
}

resource "aws_iam_role_policy" "place" {
  for_each = local.bound_roles

  name   = "place"
  role   = each.value
  policy = local.place
}

# Which version each secret has, for the record; never its value. Only here is it known which secrets those are.
resource "aws_iam_role_policy" "secrets" {
  for_each = { for role, name in local.bound_roles : role => name if role == "pipeline" && length(local.secret_arns) > 0 }

  name = "secrets"
  role = each.value
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "SeeVersionsOfSecrets"
      Effect   = "Allow"
      Action   = ["secretsmanager:DescribeSecret"]
      Resource = values(local.secret_arns)
    }]
  })
}

moved {
  from = aws_iam_role_policy.pipeline_place[0]
  to   = aws_iam_role_policy.place["pipeline"]
}

# ---- What builds need: secrets of theirs, and base images of this account ----

# Only the addresses, as for the tasks.
data "aws_secretsmanager_secret" "build" {
  for_each = var.pipeline_role_name == null ? [] : var.build_secret_names

  name = each.key
}

locals {
  base_image_arns = [for repository in sort(var.base_image_repositories) :
    "arn:${data.aws_partition.current.partition}:ecr:${local.arn_suffix}:repository/${repository}"
  ]

  build_statements = concat(
    length(data.aws_secretsmanager_secret.build) == 0 ? [] : [
      {
        Sid      = "ReadBuildSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [for secret in data.aws_secretsmanager_secret.build : secret.arn]
      },
    ],
    length(local.base_image_arns) == 0 ? [] : [
      {
        Sid      = "PullBaseImages"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = local.base_image_arns
      },
    ],
  )
}

resource "aws_iam_role_policy" "build" {
  count = var.pipeline_role_name == null || length(var.build_secret_names) + length(var.base_image_repositories) == 0 ? 0 : 1

  name   = "build"
  role   = var.pipeline_role_name
  policy = jsonencode({ Version = "2012-10-17", Statement = local.build_statements })
}
