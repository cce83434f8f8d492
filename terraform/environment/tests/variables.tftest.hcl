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

run "two_zones" {
  command = plan

  variables {
    zone_letters = ["a", "b"]
  }

  expect_failures = [var.zone_letters]
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
