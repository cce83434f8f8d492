# What an environment can be given, and spared: ways out, zones, logs. Plans on a mocked provider.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
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
}

# ---- Ways out ----

run "new_groups_take_for_healthy_what_is_given" {
  command = plan

  variables {
    health_check_matcher = "200-399"
  }

  assert {
    condition     = alltrue([for group in aws_lb_target_group.colour : group.health_check[0].matcher == "200-399"])
    error_message = "A new group must have the given matcher."
  }
}

run "one_gateway_in_the_first_zone_unless_told_otherwise" {
  command = plan

  assert {
    condition     = length(aws_nat_gateway.main) == 1 && length(aws_eip.nat) == 1 && length(aws_route_table.private) == 1 && length(aws_route.nat) == 1
    error_message = "There must be one NAT gateway, with one address and one route."
  }

  assert {
    condition     = local.nat_zones == ["ap-southeast-1a"] && length(aws_instance.nat) == 0
    error_message = "It must be in the first zone, and be no machine."
  }

  assert {
    condition     = length(aws_vpc_endpoint.s3) == 1 && length(aws_vpc_endpoint.interface) == 0 && length(aws_security_group.endpoints) == 0
    error_message = "Only the endpoint that costs nothing may be there by itself."
  }
}

run "a_gateway_in_each_zone" {
  command = plan

  variables {
    nat = "gateway-per-zone"
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 3 && length(aws_eip.nat) == 3 && length(aws_route.nat) == 3 && length(aws_route_table.private) == 3
    error_message = "Each zone must have its gateway, address, route table and route."
  }

  assert {
    condition     = toset([for address in aws_eip.nat : address.tags.Name]) == toset(["cursive-team-connections-staging-nat", "cursive-team-connections-staging-nat-ap-southeast-1b", "cursive-team-connections-staging-nat-ap-southeast-1c"])
    error_message = "The address of before must stay as it is, and the others must name their zone."
  }
}

run "gateways_only_where_tasks_run" {
  command = plan

  variables {
    nat               = "gateway-per-zone"
    task_zone_letters = ["b", "c"]
  }

  assert {
    condition     = local.nat_zones == ["ap-southeast-1b", "ap-southeast-1c"] && length(aws_nat_gateway.main) == 2
    error_message = "A zone without tasks needs no way out."
  }
}

run "an_instance_in_the_gateway_s_place" {
  command = plan

  variables {
    nat = "instance"
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 0 && length(aws_instance.nat) == 1 && length(aws_eip.nat) == 1 && length(aws_eip_association.nat) == 1
    error_message = "There must be one machine with one address, and no gateway."
  }

  assert {
    condition     = aws_network_interface.nat[0].source_dest_check == false
    error_message = "A NAT must take what is not meant for itself."
  }

  assert {
    condition     = aws_instance.nat[0].metadata_options[0].http_tokens == "required" && aws_instance.nat[0].metadata_options[0].http_put_response_hop_limit == 1
    error_message = "Its metadata must end at itself."
  }

  assert {
    condition     = strcontains(aws_instance.nat[0].user_data, "ip saddr 10.0.0.0/16 oifname \"$out\" masquerade") && strcontains(aws_instance.nat[0].user_data, "net.ipv4.ip_forward = 1")
    error_message = "It must forward, and masquerade what comes from the VPC."
  }

  assert {
    condition     = data.aws_ssm_parameter.nat_image[0].name == "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64" && aws_instance.nat[0].instance_type == "t4g.nano"
    error_message = "It must be the newest Amazon Linux on the smallest machine."
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.nat_from_vpc : rule.cidr_ipv4] == ["10.0.0.0/16"]
    error_message = "Nobody outside the VPC may reach it."
  }
}

run "no_way_out_and_ways_to_aws_instead" {
  command = plan

  variables {
    nat               = "none"
    vpc_endpoints     = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
    task_zone_letters = ["b"]
  }

  assert {
    condition     = length(aws_nat_gateway.main) == 0 && length(aws_instance.nat) == 0 && length(aws_eip.nat) == 0 && length(aws_route.nat) == 0 && length(aws_route_table.private) == 1
    error_message = "There must be no way out, and still a route table for the way to S3."
  }

  assert {
    condition     = { for service, endpoint in aws_vpc_endpoint.interface : service => [endpoint.service_name, endpoint.private_dns_enabled] } == { for service in ["ecr.api", "ecr.dkr", "logs", "secretsmanager"] : service => ["com.amazonaws.ap-southeast-1.${service}", true] }
    error_message = "Each service must have its endpoint, under its own name."
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.endpoints_from_tasks : [rule.from_port, rule.to_port, rule.ip_protocol]] == [[443, 443, "tcp"]] && alltrue([for rule in aws_vpc_security_group_ingress_rule.endpoints_from_tasks : rule.cidr_ipv4 == null])
    error_message = "Only the tasks may reach the endpoints, and only over TLS."
  }

  assert {
    condition     = output.nat_gateway_ip == null && length(output.nat_ips) == 0
    error_message = "There is no address that a database could admit."
  }
}

run "the_way_to_s3_can_be_left_out" {
  command = plan

  variables {
    s3_endpoint = false
  }

  assert {
    condition     = length(aws_vpc_endpoint.s3) == 0
    error_message = "The variable must decide."
  }
}

# ---- Zones ----

run "tasks_in_one_zone_and_the_load_balancer_in_three" {
  command = plan

  variables {
    task_zone_letters = ["c"]
  }

  assert {
    condition     = length(output.private_subnet_ids) == 1 && length(aws_subnet.private) == 3 && length(aws_subnet.public) == 3
    error_message = "Tasks must be told of one subnet; the network must stay as it is."
  }

  assert {
    condition     = local.nat_zones == ["ap-southeast-1c"]
    error_message = "The way out must be in the tasks' own zone: what goes to another one is paid."
  }
}

run "two_zones_are_enough" {
  command = plan

  variables {
    zone_letters = ["a", "c"]
  }

  assert {
    condition     = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == { ap-southeast-1a = "10.0.128.0/20", ap-southeast-1c = "10.0.144.0/20" } && length(output.private_subnet_ids) == 2
    error_message = "There must be a subnet in each of the two zones."
  }
}

# ---- Logs ----

run "access_logs_go_to_a_private_bucket_that_forgets" {
  command = plan

  assert {
    condition     = aws_s3_bucket.access_logs[0].bucket == "cursive-team-connections-staging-logs-123456789012"
    error_message = "The bucket must be named after environment and account."
  }

  assert {
    condition     = alltrue([for block in aws_s3_bucket_public_access_block.access_logs : block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets])
    error_message = "It must be closed to the public in each of the four ways."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_server_side_encryption_configuration.access_logs[0].rule : rule.apply_server_side_encryption_by_default[0].sse_algorithm] == ["AES256"]
    error_message = "It must be encrypted, and with S3's own keys: load balancers write with no other."
  }

  assert {
    condition     = [for rule in aws_s3_bucket_lifecycle_configuration.access_logs[0].rule : [rule.status, rule.expiration[0].days]] == [["Enabled", 90]]
    error_message = "Logs must go after 90 days."
  }

  assert {
    condition     = aws_lb.main.access_logs[0].enabled
    error_message = "The load balancer must write them."
  }
}

run "access_logs_go_with_their_environment" {
  command = plan

  variables {
    access_log_days = 7
  }

  assert {
    condition     = aws_s3_bucket.access_logs[0].force_destroy && aws_s3_bucket_lifecycle_configuration.access_logs[0].rule[0].expiration[0].days == 7
    error_message = "A bucket that must be emptied by hand would stop destroy halfway; days must be the variable's."
  }
}

run "no_access_logs" {
  command = plan

  variables {
    access_logs = false
  }

  assert {
    condition     = length(aws_s3_bucket.access_logs) == 0 && length(aws_s3_bucket_policy.access_logs) == 0 && aws_lb.main.access_logs[0].enabled == false && output.access_log_bucket == null
    error_message = "There must be no bucket, and the load balancer must be told so."
  }
}

run "a_long_name_still_names_a_bucket" {
  command = plan

  variables {
    namespace = "abcdefghijklmnopqrstuvwxyzabcd"
  }

  assert {
    condition     = length(aws_s3_bucket.access_logs[0].bucket) <= 63 && startswith(aws_s3_bucket.access_logs[0].bucket, "abcdefghijklmnopqrstuvwxyzabcd-conn") && endswith(aws_s3_bucket.access_logs[0].bucket, "-logs-123456789012")
    error_message = "A bucket's name has 63 characters at most."
  }
}

run "flow_logs_are_kept_for_two_weeks" {
  command = plan

  assert {
    condition     = aws_cloudwatch_log_group.flow[0].name == "cursive-team-connections-staging-flow" && aws_cloudwatch_log_group.flow[0].retention_in_days == 14
    error_message = "They must have a log group of their own, for two weeks."
  }

  assert {
    condition     = aws_flow_log.main[0].traffic_type == "ALL" && aws_flow_log.main[0].max_aggregation_interval == 600
    error_message = "They must tell of all traffic, in the longest and cheapest interval."
  }

  assert {
    condition     = jsondecode(aws_iam_role.flow[0].assume_role_policy).Statement[0].Principal.Service == "vpc-flow-logs.amazonaws.com" && jsondecode(aws_iam_role.flow[0].assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012"
    error_message = "Only this account's flow logs may have the role."
  }
}

run "no_flow_logs" {
  command = plan

  variables {
    flow_logs = false
  }

  assert {
    condition     = length(aws_flow_log.main) == 0 && length(aws_iam_role.flow) == 0 && length(aws_cloudwatch_log_group.flow) == 0
    error_message = "There must be no trace of them."
  }
}

run "insights_of_each_task" {
  command = plan

  variables {
    container_insights = "enhanced"
  }

  assert {
    condition     = one(aws_ecs_cluster.main.setting).value == "enhanced"
    error_message = "The variable must decide."
  }
}

# ---- What makes the bucket and the role worth trusting is known once they exist ----

run "who_may_write_logs" {
  command = apply

  variables {
    nat = "gateway-per-zone"
  }

  override_resource {
    target = aws_s3_bucket.access_logs
    values = {
      arn = "arn:aws:s3:::logs"
    }
  }

  override_resource {
    target = aws_cloudwatch_log_group.flow
    values = {
      arn = "arn:aws:logs:ap-southeast-1:123456789012:log-group:flow"
    }
  }

  override_resource {
    target = aws_iam_role.flow
    values = {
      arn = "arn:aws:iam::123456789012:role/flow"
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

  override_resource {
    target = aws_lb.main
    values = {
      arn        = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:loadbalancer/app/connections-staging/0a"
      arn_suffix = "app/connections-staging/0a"
    }
  }

  override_resource {
    target = aws_lb_target_group.colour
    values = {
      arn = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/connections-staging/0b"
    }
  }

  override_resource {
    target = aws_lb_listener.http_forward
    values = {
      arn = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:listener/app/connections-staging/0a/80"
    }
  }

  assert {
    condition = {
      for statement in jsondecode(aws_s3_bucket_policy.access_logs[0].policy).Statement : statement.Sid => [statement.Effect, statement.Action, jsonencode(statement.Principal), jsonencode(statement.Resource)]
      } == {
      LoadBalancerWrites = ["Allow", "s3:PutObject", "{\"Service\":\"logdelivery.elasticloadbalancing.amazonaws.com\"}", "\"arn:aws:s3:::logs/AWSLogs/123456789012/*\""]
      NoPlainHttp        = ["Deny", "s3:*", "\"*\"", "[\"arn:aws:s3:::logs\",\"arn:aws:s3:::logs/*\"]"]
    }
    error_message = "Load balancers of this account may write, nobody may do anything else."
  }

  assert {
    condition = {
      for statement in jsondecode(aws_iam_role_policy.flow[0].policy).Statement : statement.Sid => [statement.Action, statement.Resource]
      } == {
      WriteFlowLogs = [["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], ["arn:aws:logs:ap-southeast-1:123456789012:log-group:flow:*"]]
      FindLogGroup  = [["logs:DescribeLogGroups"], ["arn:aws:logs:ap-southeast-1:123456789012:log-group:*"]]
    }
    error_message = "The flow logs' role may write to its own group only."
  }

  assert {
    condition     = [for zone in ["ap-southeast-1a", "ap-southeast-1b", "ap-southeast-1c"] : aws_route_table_association.private[zone].route_table_id] == aws_route_table.private[*].id && aws_route.nat[*].nat_gateway_id == aws_nat_gateway.main[*].id
    error_message = "Each zone must go out by its own gateway."
  }
}
