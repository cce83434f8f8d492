# What becomes of an existing load balancer when its settings change; on a mocked provider that keeps state.

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
  listener_weights    = { blue = 0, green = 100 }
  flow_logs           = false # the mocked provider makes up no ARN of a log group
}

run "new_groups_ask_the_path_that_is_given" {
  assert {
    condition     = alltrue([for group in aws_lb_target_group.colour : group.health_check[0].path == "/healthz"])
    error_message = "A new group must ask the given path."
  }
}

run "the_host_header_is_handed_on_as_it_came_where_that_is_asked_for" {
  command = plan

  variables {
    preserve_host_header = true
  }

  assert {
    condition     = aws_lb.main.preserve_host_header
    error_message = "The load balancer must leave the Host header alone."
  }
}

run "groups_in_use_keep_their_path" {
  assert {
    condition     = !aws_lb.main.preserve_host_header
    error_message = "Environments of before must go on as they are."
  }

  variables {
    health_check_path    = "/livez"
    health_check_matcher = "204"
    health_check         = { interval = 20 }
  }

  assert {
    condition     = alltrue([for group in aws_lb_target_group.colour : group.health_check[0].matcher == "200"])
    error_message = "Statuses that the live version may not answer must not be asked of it: each release sets its own."
  }

  assert {
    condition     = alltrue([for group in aws_lb_target_group.colour : group.health_check[0].path == "/healthz"])
    error_message = "A path that the live version may not know must not be asked of it: each release sets its own."
  }

  assert {
    condition     = alltrue([for group in aws_lb_target_group.colour : group.health_check[0].interval == 20])
    error_message = "The pace of the checks must still follow."
  }
}

run "internal_load_balancer_is_private_and_closed_to_the_internet" {
  variables {
    internal         = true
    production_cidrs = ["10.0.0.0/16", "192.168.0.0/24"]
  }

  assert {
    condition     = aws_lb.main.internal && toset(aws_lb.main.subnets) == toset([for subnet in aws_subnet.private : subnet.id])
    error_message = "An internal load balancer must be in the private subnets."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.production : "${rule.from_port} ${rule.cidr_ipv4}"]) == toset(["80 10.0.0.0/16", "80 192.168.0.0/24"])
    error_message = "An internal load balancer must answer the named ranges and nobody else."
  }
}
