# Each rule on a variable refuses what it should refuse. Plans on a mocked provider.

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

run "region_that_is_none" {
  command = plan

  variables {
    region = "Singapore"
  }

  expect_failures = [var.region]
}

run "account_number_too_short" {
  command = plan

  variables {
    aws_account_number = "12345678901"
  }

  expect_failures = [var.aws_account_number]
}

run "namespace_with_capitals" {
  command = plan

  variables {
    namespace = "Cursive"
  }

  expect_failures = [var.namespace]
}

run "name_ending_with_hyphen" {
  command = plan

  variables {
    name = "connections-"
  }

  expect_failures = [var.name]
}

run "name_that_load_balancers_refuse" {
  command = plan

  variables {
    name = "internal-app"
  }

  expect_failures = [var.name]
}

run "stage_with_underscore" {
  command = plan

  variables {
    stage = "stag_ing"
  }

  expect_failures = [var.stage]
}

run "target_group_name_of_33_characters" {
  command = plan

  variables {
    name  = "abcdefghijklm"
    stage = "abcdefghijklm"
  }

  expect_failures = [var.stage]
}

run "role_name_of_65_characters" {
  command = plan

  variables {
    namespace = "abcdefghijklmnopqrstuvwxyzabcdefghi"
  }

  expect_failures = [var.stage]
}

run "vpc_too_small_for_six_subnets" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0/24"
  }

  expect_failures = [var.vpc_cidr]
}

run "vpc_that_is_no_range" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0"
  }

  expect_failures = [var.vpc_cidr]
}

run "one_zone" {
  command = plan

  variables {
    zone_letters = ["a"]
  }

  expect_failures = [var.zone_letters]
}

run "four_zones" {
  command = plan

  variables {
    zone_letters = ["a", "b", "c", "d"]
  }

  expect_failures = [var.zone_letters]
}

run "zone_by_its_whole_name" {
  command = plan

  variables {
    zone_letters = ["a", "ap-southeast-1b"]
  }

  expect_failures = [var.zone_letters]
}

run "tasks_in_a_zone_that_is_not_there" {
  command = plan

  variables {
    task_zone_letters = ["d"]
  }

  expect_failures = [var.task_zone_letters]
}

run "tasks_in_no_zone" {
  command = plan

  variables {
    task_zone_letters = []
  }

  expect_failures = [var.task_zone_letters]
}

run "nat_that_is_none" {
  command = plan

  variables {
    nat = "vpn"
  }

  expect_failures = [var.nat]
}

run "no_nat_and_no_way_to_secrets" {
  command = plan

  variables {
    nat           = "none"
    vpc_endpoints = ["ecr.api", "ecr.dkr", "logs"]
  }

  expect_failures = [var.nat]
}

run "no_nat_and_no_way_to_layers" {
  command = plan

  variables {
    nat           = "none"
    s3_endpoint   = false
    vpc_endpoints = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
  }

  expect_failures = [var.nat]
}

run "nat_instance_with_another_processor" {
  command = plan

  variables {
    nat_instance_type = "t3.nano"
  }

  expect_failures = [var.nat_instance_type]
}

run "nat_instance_of_half_a_generation" {
  command = plan

  variables {
    nat_instance_generation = 1.5
  }

  expect_failures = [var.nat_instance_generation]
}

run "endpoint_of_s3_among_the_paid_ones" {
  command = plan

  variables {
    vpc_endpoints = ["s3"]
  }

  expect_failures = [var.vpc_endpoints]
}

run "endpoint_by_its_whole_name" {
  command = plan

  variables {
    vpc_endpoints = ["com/amazonaws"]
  }

  expect_failures = [var.vpc_endpoints]
}

run "flow_logs_for_ten_days" {
  command = plan

  variables {
    flow_log_retention_days = 10
  }

  expect_failures = [var.flow_log_retention_days]
}

run "access_logs_for_no_day" {
  command = plan

  variables {
    access_log_days = 0
  }

  expect_failures = [var.access_log_days]
}

run "insights_as_a_switch" {
  command = plan

  variables {
    container_insights = true
  }

  expect_failures = [var.container_insights]
}

run "tag_of_our_own" {
  command = plan

  variables {
    tags = { stage = "other" }
  }

  expect_failures = [var.tags]
}

run "tag_of_aws" {
  command = plan

  variables {
    tags = { "aws:cost" = "x" }
  }

  expect_failures = [var.tags]
}

run "tag_with_a_sign_that_aws_refuses" {
  command = plan

  variables {
    tags = { CostCentre = "a;b" }
  }

  expect_failures = [var.tags]
}

run "too_many_tags" {
  command = plan

  variables {
    tags = { for number in range(41) : "t${number}" => "x" }
  }

  expect_failures = [var.tags]
}

run "http_listener_on_443" {
  command = plan

  variables {
    production_listener_port = 443
  }

  expect_failures = [var.production_listener_port]
}

run "test_port_too_high" {
  command = plan

  variables {
    test_listener_ports = { blue = 8081, green = 70000 }
  }

  expect_failures = [var.test_listener_ports]
}

run "test_ports_that_are_the_same" {
  command = plan

  variables {
    test_listener_ports = { blue = 8081, green = 8081 }
  }

  expect_failures = [var.test_listener_ports]
}

run "test_port_that_is_the_production_port" {
  command = plan

  variables {
    test_listener_ports = { blue = 80, green = 8082 }
  }

  expect_failures = [var.test_listener_ports]
}

run "test_listeners_that_nobody_reaches" {
  command = plan

  variables {
    test_listener_cidrs = []
  }

  expect_failures = [var.test_listener_cidrs]
}

run "test_listener_range_that_is_none" {
  command = plan

  variables {
    test_listener_cidrs = ["203.0.113.7"]
  }

  expect_failures = [var.test_listener_cidrs]
}

run "test_listeners_open_to_all" {
  command = plan

  variables {
    test_listener_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.test_listener_cidrs]
}

run "weight_above_999" {
  command = plan

  variables {
    listener_weights = { blue = 1000, green = 0 }
  }

  expect_failures = [var.listener_weights]
}

run "weight_that_is_no_whole_number" {
  command = plan

  variables {
    listener_weights = { blue = 99.5, green = 0 }
  }

  expect_failures = [var.listener_weights]
}

run "no_weight_at_all" {
  command = plan

  variables {
    listener_weights = { blue = 0, green = 0 }
  }

  expect_failures = [var.listener_weights]
}

run "certificate_by_name" {
  command = plan

  variables {
    certificate_arn = "connections.example"
  }

  expect_failures = [var.certificate_arn]
}

run "redirect_to_nowhere" {
  command = plan

  variables {
    http_redirect = true
  }

  expect_failures = [var.http_redirect]
}

run "health_check_path_without_slash" {
  command = plan

  variables {
    health_check_path = "healthz"
  }

  expect_failures = [var.health_check_path]
}

run "health_check_matcher_of_server_errors" {
  command = plan

  variables {
    health_check_matcher = "200-599"
  }

  expect_failures = [var.health_check_matcher]
}

run "health_check_interval_too_short" {
  command = plan

  variables {
    health_check = { interval = 4, timeout = 3 }
  }

  expect_failures = [var.health_check]
}

run "health_check_timeout_not_below_interval" {
  command = plan

  variables {
    health_check = { interval = 10, timeout = 10 }
  }

  expect_failures = [var.health_check]
}

run "health_check_threshold_of_one" {
  command = plan

  variables {
    health_check = { healthy_threshold = 1 }
  }

  expect_failures = [var.health_check]
}

run "deregistration_delay_negative" {
  command = plan

  variables {
    deregistration_delay_seconds = -1
  }

  expect_failures = [var.deregistration_delay_seconds]
}

run "secret_by_arn" {
  command = plan

  variables {
    secret_names = ["arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:app-AbCdEf"]
  }

  expect_failures = [var.secret_names]
}

run "log_retention_that_is_not_offered" {
  command = plan

  variables {
    log_retention_days = 10
  }

  expect_failures = [var.log_retention_days]
}

run "alarm_at_no_answer" {
  command = plan

  variables {
    alarm_target_5xx_count = 0
  }

  expect_failures = [var.alarm_target_5xx_count]
}

run "alarm_action_by_name" {
  command = plan

  variables {
    alarm_action_arns = ["releases"]
  }

  expect_failures = [var.alarm_action_arns]
}

run "test_listeners_open_to_two_halves_of_the_internet" {
  command = plan

  variables {
    test_listener_cidrs = ["0.0.0.0/1", "128.0.0.0/1"]
  }

  expect_failures = [var.test_listener_cidrs]
}

run "test_listeners_open_to_the_internet_by_another_spelling" {
  command = plan

  variables {
    test_listener_cidrs = ["0.0.0.0/00"]
  }

  expect_failures = [var.test_listener_cidrs]
}

run "test_listeners_open_to_a_large_range" {
  command = plan

  variables {
    test_listener_cidrs = ["10.0.0.0/8"]
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.test) == 2
    error_message = "A range of /8 is a network of one's own."
  }
}

run "internal_and_open_to_the_internet" {
  command = plan

  variables {
    internal         = true
    production_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.production_cidrs]
}

run "production_range_that_is_no_range" {
  command = plan

  variables {
    production_cidrs = ["everybody"]
  }

  expect_failures = [var.production_cidrs]
}

run "reconciler_role_by_arn_where_its_name_is_asked_for" {
  command = plan

  variables {
    reconciler_role_name = "arn:aws:iam::123456789012:role/x"
  }

  expect_failures = [var.reconciler_role_name]
}

run "boundary_by_name_where_its_arn_is_asked_for" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "secret_of_another_account_without_its_end" {
  command = plan

  variables {
    secret_arns = ["arn:aws:secretsmanager:ap-southeast-1:999999999999:secret:shared"]
  }

  expect_failures = [var.secret_arns]
}

run "secret_of_another_region" {
  command = plan

  variables {
    secret_arns = ["arn:aws:secretsmanager:eu-west-1:999999999999:secret:shared-AbCdEf"]
  }

  expect_failures = [var.secret_arns]
}

run "parameter_by_value" {
  command = plan

  variables {
    parameter_names = ["postgresql://app@db/x"]
  }

  expect_failures = [var.parameter_names]
}

run "no_nat_and_no_way_to_parameters" {
  command = plan

  variables {
    nat             = "none"
    s3_endpoint     = true
    vpc_endpoints   = ["ecr.api", "ecr.dkr", "logs", "secretsmanager"]
    parameter_names = ["/connections/url"]
  }

  expect_failures = [var.parameter_names]
}

run "key_by_alias" {
  command = plan

  variables {
    secret_key_arns = ["arn:aws:kms:ap-southeast-1:123456789012:alias/mine"]
  }

  expect_failures = [var.secret_key_arns]
}

run "policy_by_name" {
  command = plan

  variables {
    task_policy_arns = ["AmazonS3ReadOnlyAccess"]
  }

  expect_failures = [var.task_policy_arns]
}

run "image_with_its_tag" {
  command = plan

  variables {
    sidecar_repositories = ["nginx:1.27@sha256:0a"]
  }

  expect_failures = [var.sidecar_repositories]
}

run "build_secret_by_arn" {
  command = plan

  variables {
    build_secret_names = ["arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:npm-AbCdEf"]
  }

  expect_failures = [var.build_secret_names]
}

run "base_image_with_a_tag" {
  command = plan

  variables {
    base_image_repositories = ["team/base:1"]
  }

  expect_failures = [var.base_image_repositories]
}
