# Applies on a mocked provider: what the pipeline's role may not do with this network and these listeners.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }

  mock_resource "aws_lb" {
    defaults = {
      arn        = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:loadbalancer/app/connections-staging/0a"
      arn_suffix = "app/connections-staging/0a"
    }
  }
}

override_resource {
  target = aws_lb_target_group.colour["blue"]
  values = {
    arn = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/connections-staging-blue/0b"
  }
}

override_resource {
  target = aws_lb_target_group.colour["green"]
  values = {
    arn = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/connections-staging-green/0c"
  }
}

override_resource {
  target = aws_lb_listener.http_forward
  values = {
    arn = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:listener/app/connections-staging/0a/80"
  }
}

override_resource {
  target = aws_lb_listener.https
  values = {
    arn = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:listener/app/connections-staging/0a/443"
  }
}

override_resource {
  target = aws_iam_role.execution
  values = {
    arn = "arn:aws:iam::123456789012:role/execution"
  }
}

override_resource {
  target = aws_iam_role.task
  values = {
    arn = "arn:aws:iam::123456789012:role/task"
  }
}

variables {
  region              = "ap-southeast-1"
  aws_account_number  = "123456789012"
  namespace           = "cursive-team"
  name                = "connections"
  stage               = "staging"
  test_listener_cidrs = ["203.0.113.7/32"]
  listener_weights    = { blue = 25, green = 75 }
  flow_logs           = false # the mocked provider makes up no ARN of a log group
}

run "pipeline_is_bound_to_these_subnets_and_listeners" {
  command = apply

  variables {
    pipeline_role_name = "cursive-team-connections-staging-pipeline"
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.place["pipeline"].policy).Statement : statement.Sid => [statement.Effect, statement.Action, statement.Condition] if can(statement.Condition) } == {
      OwnSubnetsOnly = ["Deny", ["ecs:CreateService", "ecs:UpdateService"], { "ForAnyValue:StringNotEquals" = { "ecs:subnet" = [for zone in sort(keys(local.zones)) : aws_subnet.private[zone].id] } }]
      KeepHTTP = ["Deny", ["elasticloadbalancing:ModifyListener"], {
        Null            = { "elasticloadbalancing:ListenerProtocol" = "false" }
        StringNotEquals = { "elasticloadbalancing:ListenerProtocol" = "HTTP" }
      }]
    }
    error_message = "Services must stay in the private subnets, and the listener must keep its protocol."
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.place["pipeline"].policy).Statement : [statement.Effect, statement.Action, statement.NotResource] if can(statement.NotResource)] == [
      ["Deny", ["elasticloadbalancing:ModifyListener"], ["arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:listener/app/connections-staging/0a/80"]]
    ]
    error_message = "Only the listener with weights may be changed."
  }

  assert {
    condition     = aws_iam_role_policy.place["pipeline"].role == "cursive-team-connections-staging-pipeline"
    error_message = "It is the pipeline's role that is bound."
  }
}

run "reconciler_is_bound_like_the_pipeline" {
  command = apply

  variables {
    pipeline_role_name   = "cursive-team-connections-staging-pipeline"
    reconciler_role_name = "cursive-team-connections-staging-reconciler"
  }

  assert {
    condition = aws_iam_role_policy.place["reconciler"].role == "cursive-team-connections-staging-reconciler" && (
      aws_iam_role_policy.place["reconciler"].policy == aws_iam_role_policy.place["pipeline"].policy
    )
    error_message = "Who cleans up may leave neither these subnets nor these listeners either."
  }
}

run "tasks_have_the_boundary_that_is_given" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/cursive-team-connections-boundary"
  }

  assert {
    condition = [aws_iam_role.execution.permissions_boundary, aws_iam_role.task.permissions_boundary] == [
      "arn:aws:iam::123456789012:policy/cursive-team-connections-boundary", "arn:aws:iam::123456789012:policy/cursive-team-connections-boundary"
    ]
    error_message = "Both roles that tasks have must be made under the boundary."
  }
}

run "tasks_of_before_stay_without_a_boundary" {
  command = plan

  assert {
    condition     = aws_iam_role.execution.permissions_boundary == null && aws_iam_role.task.permissions_boundary == null
    error_message = "Where no boundary is given, an application keeps the rights that it has."
  }
}

run "execution_pulls_from_the_stage_s_repository_and_the_one_of_before" {
  command = plan

  assert {
    condition = one([for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Resource if statement.Sid == "PullImage"]) == [
      "arn:aws:ecr:ap-southeast-1:123456789012:repository/cursive-team/connections",
      "arn:aws:ecr:ap-southeast-1:123456789012:repository/cursive-team/connections/staging",
    ]
    error_message = "Tasks may pull their stage's images and those of before, and no other stage's."
  }
}

run "pipeline_keeps_the_tls_policy" {
  command = apply

  variables {
    pipeline_role_name = "cursive-team-connections-staging-pipeline"
    certificate_arn    = "arn:aws:acm:ap-southeast-1:123456789012:certificate/a"
    http_redirect      = true
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.place["pipeline"].policy).Statement : statement.Sid => statement.Condition if startswith(statement.Sid, "Keep") } == {
      KeepHTTPS = {
        Null            = { "elasticloadbalancing:ListenerProtocol" = "false" }
        StringNotEquals = { "elasticloadbalancing:ListenerProtocol" = "HTTPS" }
      }
      KeepTlsPolicy = {
        Null            = { "elasticloadbalancing:SecurityPolicy" = "false" }
        StringNotEquals = { "elasticloadbalancing:SecurityPolicy" = "ELBSecurityPolicy-TLS13-1-2-2021-06" }
      }
    }
    error_message = "Neither TLS nor its policy may be taken from the HTTPS listener."
  }
}

run "nothing_is_bound_without_a_role" {
  command = plan

  assert {
    condition     = length(aws_iam_role_policy.place) == 0
    error_message = "Without a role there is nothing to bind."
  }
}

run "pipeline_sees_the_versions_of_its_secrets_and_no_value" {
  command = apply

  variables {
    pipeline_role_name   = "cursive-team-connections-staging-pipeline"
    reconciler_role_name = "cursive-team-connections-staging-reconciler"
    secret_arns          = ["arn:aws:secretsmanager:ap-southeast-1:999999999999:secret:shared-AbCdEf"]
  }

  assert {
    condition = { for role, policy in aws_iam_role_policy.secrets : role => [for statement in jsondecode(policy.policy).Statement : [statement.Effect, statement.Action, statement.Resource]] } == {
      pipeline = [["Allow", ["secretsmanager:DescribeSecret"], ["arn:aws:secretsmanager:ap-southeast-1:999999999999:secret:shared-AbCdEf"]]]
    }
    error_message = "The pipeline alone may look at exactly the named secrets, and read none."
  }
}

run "pipeline_without_secrets_sees_none" {
  command = apply

  variables {
    pipeline_role_name = "cursive-team-connections-staging-pipeline"
  }

  assert {
    condition     = length(aws_iam_role_policy.secrets) == 0
    error_message = "Where no secret is named, none may be looked at."
  }
}

run "builds_read_their_secrets_and_base_images_only" {
  command = apply

  variables {
    pipeline_role_name      = "cursive-team-connections-staging-pipeline"
    build_secret_names      = ["cursive-team/connections/npm"]
    base_image_repositories = ["team/base", "team/node"]
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.build[0].policy).Statement : statement.Sid => [statement.Effect, statement.Action, statement.Resource] } == {
      ReadBuildSecrets = ["Allow", ["secretsmanager:GetSecretValue"], [data.aws_secretsmanager_secret.build["cursive-team/connections/npm"].arn]]
      PullBaseImages = ["Allow", ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], [
        "arn:aws:ecr:ap-southeast-1:123456789012:repository/team/base",
        "arn:aws:ecr:ap-southeast-1:123456789012:repository/team/node",
      ]]
    }
    error_message = "The pipeline must read exactly the named secrets, and pull from exactly the named repositories."
  }

  assert {
    condition     = aws_iam_role_policy.build[0].role == "cursive-team-connections-staging-pipeline"
    error_message = "Only the pipeline builds."
  }
}

run "builds_that_need_nothing_are_given_nothing" {
  command = plan

  variables {
    pipeline_role_name = "cursive-team-connections-staging-pipeline"
  }

  assert {
    condition     = length(aws_iam_role_policy.build) == 0
    error_message = "An environment of before must keep its policies."
  }
}
