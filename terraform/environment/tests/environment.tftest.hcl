# Plans on a mocked provider: what an environment is made of. No AWS, no network.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }

  mock_data "aws_secretsmanager_secret" {
    defaults = {
      arn = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:cursive-team/connections/staging-AbCdEf"
    }
  }
}

variables {
  region              = "ap-southeast-1"
  aws_account_number  = "123456789012"
  namespace           = "cursive-team"
  name                = "connections"
  stage               = "staging"
  test_listener_cidrs = ["203.0.113.7/32", "198.51.100.0/24"]
  listener_weights    = { blue = 0, green = 100 }
}

run "network_spans_three_zones_with_one_way_out" {
  command = plan

  assert {
    condition     = aws_vpc.main.cidr_block == "10.0.0.0/16"
    error_message = "The VPC must be 10.0.0.0/16 by default."
  }

  assert {
    condition = { for zone, subnet in aws_subnet.public : zone => subnet.cidr_block } == {
      ap-southeast-1a = "10.0.0.0/20"
      ap-southeast-1b = "10.0.16.0/20"
      ap-southeast-1c = "10.0.32.0/20"
    }
    error_message = "There must be a public subnet in each of the three zones."
  }

  assert {
    condition = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == {
      ap-southeast-1a = "10.0.128.0/20"
      ap-southeast-1b = "10.0.144.0/20"
      ap-southeast-1c = "10.0.160.0/20"
    }
    error_message = "There must be a private subnet in each of the three zones."
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.map_public_ip_on_launch != true])
    error_message = "No subnet may hand out public addresses."
  }

  assert {
    condition     = length(aws_route_table_association.public) == 3 && length(aws_route_table_association.private) == 3
    error_message = "Each subnet must have its route table."
  }
}

run "load_balancer_is_open_on_production_and_closed_on_test" {
  command = plan

  assert {
    condition     = { for key, rule in aws_vpc_security_group_ingress_rule.production : key => [rule.from_port, rule.to_port, rule.cidr_ipv4] } == { "80" = [80, 80, "0.0.0.0/0"] }
    error_message = "Of the load balancer's ports only the production one may be open to the internet."
  }

  assert {
    condition = toset([for rule in aws_vpc_security_group_ingress_rule.test : "${rule.from_port}-${rule.to_port} ${rule.cidr_ipv4}"]) == toset([
      "8081-8081 203.0.113.7/32", "8081-8081 198.51.100.0/24", "8082-8082 203.0.113.7/32", "8082-8082 198.51.100.0/24",
    ])
    error_message = "Each test port must be open to the named ranges and to nobody else."
  }
}

run "tasks_answer_the_load_balancer_only_and_on_any_port" {
  command = plan

  assert {
    condition = alltrue([for rule in [
      aws_vpc_security_group_ingress_rule.tasks_from_load_balancer, aws_vpc_security_group_egress_rule.load_balancer_to_tasks,
    ] : rule.ip_protocol == "tcp" && rule.from_port == 0 && rule.to_port == 65535])
    error_message = "A release that listens on another port must be reached beside one that listens on the old port."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.tasks_from_load_balancer.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.tasks_from_load_balancer.cidr_ipv6 == null
    error_message = "Tasks must be open to a security group, not to addresses."
  }
}

run "internal_load_balancer_answers_its_vpc_unless_told_otherwise" {
  command = plan

  variables {
    internal = true
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.production : rule.cidr_ipv4] == ["10.0.0.0/16"]
    error_message = "Without named ranges an internal load balancer must answer its own network only."
  }
}

run "target_groups_have_shallow_checks_and_a_short_drain" {
  command = plan

  assert {
    condition     = { for colour, group in aws_lb_target_group.colour : colour => [group.name, group.target_type, group.port] } == { blue = ["connections-staging-blue", "ip", 8080], green = ["connections-staging-green", "ip", 8080] }
    error_message = "There must be a target group of addresses for each colour, named after name, stage and colour."
  }

  assert {
    condition     = alltrue([for group in aws_lb_target_group.colour : group.health_check[0].path == "/healthz" && group.health_check[0].matcher == "200" && group.health_check[0].interval == 15 && group.health_check[0].timeout == 5])
    error_message = "Health checks must ask the shallow path every 15 seconds."
  }

  assert {
    condition     = alltrue([for group in aws_lb_target_group.colour : group.deregistration_delay == "30"])
    error_message = "A target that goes must be drained for 30 seconds, not for AWS's 300."
  }
}

run "names_stay_within_aws_limits" {
  command = plan

  variables {
    name  = "abcdefghijklm"
    stage = "abcdefghijkl"
  }

  assert {
    condition     = alltrue([for group in aws_lb_target_group.colour : length(group.name) <= 32]) && length(aws_lb_target_group.colour["green"].name) == 32
    error_message = "The longest names allowed must still fit a target group."
  }

  assert {
    condition     = length(aws_lb.main.name) <= 32 && length(aws_iam_role.execution.name) <= 64 && length(aws_iam_role.task.name) <= 64
    error_message = "The load balancer's and the roles' names must fit their limits."
  }
}

run "names_carry_the_stage" {
  command = plan

  assert {
    condition = alltrue([for name in [
      aws_lb.main.name, aws_lb_target_group.colour["blue"].name, aws_ecs_cluster.main.name, aws_cloudwatch_log_group.tasks.name, aws_iam_role.execution.name,
      aws_iam_role.task.name, aws_security_group.tasks.name, aws_security_group.load_balancer.name, aws_cloudwatch_metric_alarm.target_5xx["blue"].alarm_name,
    ] : strcontains(name, "staging")])
    error_message = "Two environments of one account must not meet in a name."
  }
}

run "execution_role_reads_the_named_secrets_only" {
  command = plan

  variables {
    secret_names = ["cursive-team/connections/staging"]
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Resource if contains(statement.Action, "secretsmanager:GetSecretValue")] == [["arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:cursive-team/connections/staging-AbCdEf"]]
    error_message = "The execution role must read exactly the named secrets."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Sid if contains(statement.Resource, "*")] == ["RegistryLogin"]
    error_message = "Nothing but the registry's login may be allowed on every resource."
  }

  assert {
    condition     = alltrue([for role in [aws_iam_role.execution, aws_iam_role.task] : jsondecode(role.assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012"])
    error_message = "Only this account's tasks may take the roles."
  }
}

run "execution_role_without_secrets_reads_none" {
  command = plan

  assert {
    condition     = !strcontains(aws_iam_role_policy.execution.policy, "secretsmanager")
    error_message = "Where no secret is named, none may be read."
  }
}

run "alarms_watch_each_colour" {
  command = plan

  variables {
    alarm_target_5xx_count = 7
    alarm_action_arns      = ["arn:aws:sns:ap-southeast-1:123456789012:releases"]
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.target_5xx : alarm.metric_name == "HTTPCode_Target_5XX_Count" && alarm.threshold == 7]) && toset(keys(aws_cloudwatch_metric_alarm.target_5xx)) == toset(["blue", "green"])
    error_message = "Each colour's 5xx answers must be watched."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.unhealthy_hosts : alarm.metric_name == "UnHealthyHostCount"]) && toset(keys(aws_cloudwatch_metric_alarm.unhealthy_hosts)) == toset(["blue", "green"])
    error_message = "Each colour's unhealthy tasks must be watched."
  }

  assert {
    condition     = alltrue([for alarm in concat(values(aws_cloudwatch_metric_alarm.target_5xx), values(aws_cloudwatch_metric_alarm.unhealthy_hosts)) : alarm.treat_missing_data == "notBreaching" && alarm.alarm_actions == toset(["arn:aws:sns:ap-southeast-1:123456789012:releases"])])
    error_message = "Alarms must notify, and an empty slot must not raise one."
  }
}

run "container_insights_can_be_switched_off" {
  command = plan

  variables {
    container_insights = "disabled"
  }

  assert {
    condition     = one(aws_ecs_cluster.main.setting).value == "disabled"
    error_message = "The variable must decide."
  }
}

run "execution_role_reads_parameters_and_secrets_of_others_by_their_arn" {
  command = plan

  variables {
    secret_arns     = ["arn:aws:secretsmanager:ap-southeast-1:999999999999:secret:shared-AbCdEf"]
    parameter_names = ["/connections/url", "plain", "arn:aws:ssm:ap-southeast-1:999999999999:parameter/theirs"]
    secret_key_arns = ["arn:aws:kms:ap-southeast-1:999999999999:key/0a"]
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Action[0] => statement.Resource if contains(["ReadSecrets", "ReadParameters", "DecryptSecrets"], statement.Sid) } == {
      "secretsmanager:GetSecretValue" = ["arn:aws:secretsmanager:ap-southeast-1:999999999999:secret:shared-AbCdEf"]
      "ssm:GetParameters" = [
        "arn:aws:ssm:ap-southeast-1:123456789012:parameter/connections/url",
        "arn:aws:ssm:ap-southeast-1:999999999999:parameter/theirs",
        "arn:aws:ssm:ap-southeast-1:123456789012:parameter/plain",
      ]
      "kms:Decrypt" = ["arn:aws:kms:ap-southeast-1:999999999999:key/0a"]
    }
    error_message = "The execution role must read exactly what is named, in each of the three places."
  }

  assert {
    condition     = output.secret_arns == { "arn:aws:secretsmanager:ap-southeast-1:999999999999:secret:shared-AbCdEf" = "arn:aws:secretsmanager:ap-southeast-1:999999999999:secret:shared-AbCdEf" }
    error_message = "Another account's secret must be recorded by its ARN."
  }

  assert {
    condition     = output.parameter_arns["/connections/url"] == "arn:aws:ssm:ap-southeast-1:123456789012:parameter/connections/url" && output.parameter_arns["plain"] == "arn:aws:ssm:ap-southeast-1:123456789012:parameter/plain"
    error_message = "A parameter must be recorded by its name."
  }
}

run "secrets_that_rds_keeps_have_names_of_their_own" {
  command = plan

  variables {
    secret_names = ["rds!db-1f2e3d4c"]
  }

  assert {
    condition     = keys(output.secret_arns) == ["rds!db-1f2e3d4c"]
    error_message = "RDS's own secrets must be taken by their name."
  }
}

run "execution_role_pulls_the_images_beside_the_application_s" {
  command = plan

  variables {
    sidecar_repositories = ["999999999999.dkr.ecr.eu-west-1.amazonaws.com/team/proxy", "public.ecr.aws/x/agent", "nginx"]
  }

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Resource if statement.Sid == "PullImage"] == [[
      "arn:aws:ecr:ap-southeast-1:123456789012:repository/cursive-team/connections",
      "arn:aws:ecr:ap-southeast-1:123456789012:repository/cursive-team/connections/staging",
      "arn:aws:ecr:eu-west-1:999999999999:repository/team/proxy",
    ]]
    error_message = "The execution role must pull from the named repositories of ECR beside its own."
  }
}

run "the_application_s_role_has_the_policies_that_it_is_given" {
  command = plan

  variables {
    task_policy_arns = ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]
  }

  assert {
    condition     = [for attachment in aws_iam_role_policy_attachment.task : [attachment.role, attachment.policy_arn]] == [["cursive-team-connections-staging-task", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]]
    error_message = "The task's role must have exactly the named policies."
  }
}
