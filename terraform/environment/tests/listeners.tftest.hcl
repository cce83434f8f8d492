# The listeners, from HTTP to HTTPS in two ordered applies, against a mocked provider that keeps state between runs.

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

run "http_starts_with_the_recorded_weights" {
  assert {
    condition = { for group in aws_lb_listener.http_forward[0].default_action[0].forward[0].target_group : group.arn => group.weight } == {
      (aws_lb_target_group.colour["blue"].arn)  = 25
      (aws_lb_target_group.colour["green"].arn) = 75
    }
    error_message = "A listener that is created must have both target groups with the weights of the variable."
  }

  assert {
    condition     = !aws_lb_listener.http_forward[0].default_action[0].forward[0].stickiness[0].enabled
    error_message = "Stickiness must be off: it would hold clients on a version that weights have left."
  }

  assert {
    condition     = length(aws_lb_listener.https) == 0 && length(aws_lb_listener.http_redirect) == 0
    error_message = "Without a certificate there must be one production listener."
  }

  assert {
    condition     = output.production_listener_arn == aws_lb_listener.http_forward[0].arn && output.production_listener_port == 80 && output.http_forward_listener_arn == null
    error_message = "The HTTP listener must be the production listener."
  }
}

run "each_colour_has_its_own_test_listener" {
  assert {
    condition = { for colour, listener in aws_lb_listener.test : colour => [listener.port, listener.default_action[0].target_group_arn] } == {
      blue  = [8081, aws_lb_target_group.colour["blue"].arn]
      green = [8082, aws_lb_target_group.colour["green"].arn]
    }
    error_message = "Each test listener must forward to its own colour only."
  }

  assert {
    condition     = output.test_listener_ports == { blue = 8081, green = 8082 }
    error_message = "The outputs must name the test listeners' ports."
  }
}

run "weights_that_releases_moved_are_left_alone" {
  command = plan

  variables {
    listener_weights = { blue = 100, green = 0 }
  }

  assert {
    condition     = { for group in aws_lb_listener.http_forward[0].default_action[0].forward[0].target_group : group.arn => group.weight }[aws_lb_target_group.colour["blue"].arn] == 25
    error_message = "An existing listener must keep its weights whatever the variable says."
  }
}

run "https_comes_first_beside_http" {
  variables {
    certificate_arn  = "arn:aws:acm:ap-southeast-1:123456789012:certificate/0d"
    listener_weights = { blue = 10, green = 90 }
  }

  assert {
    condition     = length(aws_lb_listener.http_forward) == 1 && length(aws_lb_listener.http_redirect) == 0
    error_message = "The first apply must leave the HTTP listener as it is."
  }

  assert {
    condition = { for group in aws_lb_listener.https[0].default_action[0].forward[0].target_group : group.arn => group.weight } == {
      (aws_lb_target_group.colour["blue"].arn)  = 10
      (aws_lb_target_group.colour["green"].arn) = 90
    }
    error_message = "The HTTPS listener must start with the weights of the variable."
  }

  assert {
    condition     = toset(keys(aws_vpc_security_group_ingress_rule.production)) == toset(["80", "443"])
    error_message = "Both production ports must be open."
  }

  assert {
    condition     = output.production_listener_arn == aws_lb_listener.https[0].arn && output.production_listener_port == 443 && output.http_forward_listener_arn == aws_lb_listener.http_forward[0].arn
    error_message = "HTTPS must be the production listener, and the HTTP listener that still forwards must be named."
  }
}

run "then_http_becomes_a_redirect" {
  variables {
    certificate_arn  = "arn:aws:acm:ap-southeast-1:123456789012:certificate/0d"
    http_redirect    = true
    listener_weights = { blue = 100, green = 0 }
  }

  assert {
    condition     = length(aws_lb_listener.http_forward) == 0 && aws_lb_listener.http_redirect[0].port == 80
    error_message = "The second apply must put the redirecting listener in the place of the forwarding one."
  }

  assert {
    condition     = aws_lb_listener.http_redirect[0].default_action[0].redirect[0].protocol == "HTTPS" && aws_lb_listener.http_redirect[0].default_action[0].redirect[0].port == "443"
    error_message = "The HTTP listener must redirect to HTTPS."
  }

  assert {
    condition     = { for group in aws_lb_listener.https[0].default_action[0].forward[0].target_group : group.arn => group.weight }[aws_lb_target_group.colour["green"].arn] == 90
    error_message = "The HTTPS listener must keep its weights."
  }

  assert {
    condition     = output.production_listener_arn == aws_lb_listener.https[0].arn && output.http_forward_listener_arn == null
    error_message = "Only the HTTPS listener may forward."
  }
}
