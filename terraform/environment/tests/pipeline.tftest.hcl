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
    condition = { for statement in jsondecode(aws_iam_role_policy.pipeline_place[0].policy).Statement : statement.Sid => [statement.Effect, statement.Action, statement.Condition] if can(statement.Condition) } == {
      OwnSubnetsOnly = ["Deny", ["ecs:CreateService", "ecs:UpdateService"], { "ForAnyValue:StringNotEquals" = { "ecs:subnet" = [for zone in sort(keys(local.zones)) : aws_subnet.private[zone].id] } }]
      KeepHTTP = ["Deny", ["elasticloadbalancing:ModifyListener"], {
        Null            = { "elasticloadbalancing:ListenerProtocol" = "false" }
        StringNotEquals = { "elasticloadbalancing:ListenerProtocol" = "HTTP" }
      }]
    }
    error_message = "Services must stay in the private subnets, and the listener must keep its protocol."
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.pipeline_place[0].policy).Statement : [statement.Effect, statement.Action, statement.NotResource] if can(statement.NotResource)] == [
      ["Deny", ["elasticloadbalancing:ModifyListener"], ["arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:listener/app/connections-staging/0a/80"]]
    ]
    error_message = "Only the listener with weights may be changed."
  }

  assert {
    condition     = aws_iam_role_policy.pipeline_place[0].role == "cursive-team-connections-staging-pipeline"
    error_message = "It is the pipeline's role that is bound."
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
    condition = { for statement in jsondecode(aws_iam_role_policy.pipeline_place[0].policy).Statement : statement.Sid => statement.Condition if startswith(statement.Sid, "Keep") } == {
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
    condition     = length(aws_iam_role_policy.pipeline_place) == 0
    error_message = "Without a role there is nothing to bind."
  }
}
