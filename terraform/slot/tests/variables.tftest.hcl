# Each rule on a variable refuses what it should refuse. Plans on a mocked provider.

mock_provider "aws" {}

variables {
  region                = "ap-southeast-1"
  aws_account_number    = "123456789012"
  namespace             = "cursive-team"
  name                  = "connections"
  stage                 = "staging"
  colour                = "green"
  image                 = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/cursive-team/connections@sha256:0000000000000000000000000000000000000000000000000000000000000001"
  release_version       = "v1.4.0-rc.1+build.7"
  release_revision      = "3f2a9c1"
  cluster_arn           = "arn:aws:ecs:ap-southeast-1:123456789012:cluster/cursive-team-connections-staging"
  subnet_ids            = ["subnet-0a", "subnet-0b", "subnet-0c"]
  security_group_id     = "sg-0a"
  target_group_arn      = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/connections-staging-green/0a"
  execution_role_arn    = "arn:aws:iam::123456789012:role/cursive-team-connections-staging-execution"
  task_role_arn         = "arn:aws:iam::123456789012:role/cursive-team-connections-staging-task"
  log_group_name        = "cursive-team-connections-staging"
  environment_variables = { ZONE = "Asia/Singapore", LOG_LEVEL = "info" }
  secrets               = { DATABASE_URL = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:app-AbCdEf:SECRET_DATABASE_URL::" }
  migration_command     = ["npx", "prisma", "migrate", "deploy"]
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
    name             = "connections-"
    target_group_arn = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/connections--staging-green/0a"
  }

  expect_failures = [var.name]
}

run "stage_with_underscore" {
  command = plan

  variables {
    stage            = "stag_ing"
    target_group_arn = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/connections-stag_ing-green/0a"
  }

  expect_failures = [var.stage]
}

run "colour_that_is_no_slot" {
  command = plan

  variables {
    colour           = "red"
    target_group_arn = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/connections-staging-red/0a"
  }

  expect_failures = [var.colour]
}

run "image_by_tag" {
  command = plan

  variables {
    image = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/cursive-team/connections:v1.4.0"
  }

  expect_failures = [var.image]
}

run "image_with_short_digest" {
  command = plan

  variables {
    image = "cursive-team/connections@sha256:abc"
  }

  expect_failures = [var.image]
}

run "version_without_v" {
  command = plan

  variables {
    release_version = "1.4.0"
  }

  expect_failures = [var.release_version]
}

run "version_of_two_numbers" {
  command = plan

  variables {
    release_version = "v1.4"
  }

  expect_failures = [var.release_version]
}

run "version_with_leading_zero" {
  command = plan

  variables {
    release_version = "v1.04.0"
  }

  expect_failures = [var.release_version]
}

run "version_with_numeric_prerelease_zero" {
  command = plan

  variables {
    release_version = "v1.4.0-01"
  }

  expect_failures = [var.release_version]
}

run "revision_empty" {
  command = plan

  variables {
    release_revision = ""
  }

  expect_failures = [var.release_revision]
}

run "variable_name_with_hyphen" {
  command = plan

  variables {
    environment_variables = { LOG-LEVEL = "info" }
  }

  expect_failures = [var.environment_variables]
}

run "variable_that_we_set" {
  command = plan

  variables {
    environment_variables = { POINTSMAN_VERSION = "v9.9.9" }
  }

  expect_failures = [var.environment_variables]
}

run "secret_by_value" {
  command = plan

  variables {
    secrets = { DATABASE_URL = "postgresql://user:password@host/connections" }
  }

  expect_failures = [var.secrets]
}

run "secret_that_we_set" {
  command = plan

  variables {
    secrets = { POINTSMAN_COLOUR = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:app-AbCdEf" }
  }

  expect_failures = [var.secrets]
}

run "name_both_secret_and_plain" {
  command = plan

  variables {
    environment_variables = { DATABASE_URL = "x" }
  }

  expect_failures = [var.secrets]
}

run "migration_without_command" {
  command = plan

  variables {
    migration_command = []
  }

  expect_failures = [var.migration_command]
}

run "migration_secret_by_value" {
  command = plan

  variables {
    migration_secrets = { DATABASE_URL = "postgresql://user:password@host/connections" }
  }

  expect_failures = [var.migration_secrets]
}

run "migration_secret_that_we_set" {
  command = plan

  variables {
    migration_secrets = { POINTSMAN_COLOUR = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:app-AbCdEf" }
  }

  expect_failures = [var.migration_secrets]
}

run "name_both_migration_secret_and_plain" {
  command = plan

  variables {
    environment_variables = { OWNER_URL = "x" }
    migration_secrets     = { OWNER_URL = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:app-AbCdEf" }
  }

  expect_failures = [var.migration_secrets]
}

run "container_port_too_high" {
  command = plan

  variables {
    container_port = 65536
  }

  expect_failures = [var.container_port]
}

run "cpu_that_fargate_does_not_offer" {
  command = plan

  variables {
    cpu = 300
  }

  expect_failures = [var.cpu]
}

run "memory_that_does_not_go_with_cpu" {
  command = plan

  variables {
    memory = 4096
  }

  expect_failures = [var.memory]
}

run "grace_period_negative" {
  command = plan

  variables {
    health_check_grace_period_seconds = -1
  }

  expect_failures = [var.health_check_grace_period_seconds]
}

run "cluster_by_name" {
  command = plan

  variables {
    cluster_arn = "cursive-team-connections-staging"
  }

  expect_failures = [var.cluster_arn]
}

run "no_subnet" {
  command = plan

  variables {
    subnet_ids = []
  }

  expect_failures = [var.subnet_ids]
}

run "security_group_by_name" {
  command = plan

  variables {
    security_group_id = "tasks"
  }

  expect_failures = [var.security_group_id]
}

run "target_group_of_the_other_colour" {
  command = plan

  variables {
    target_group_arn = "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/connections-staging-blue/0a"
  }

  expect_failures = [var.target_group_arn]
}

run "execution_role_by_name" {
  command = plan

  variables {
    execution_role_arn = "execution"
  }

  expect_failures = [var.execution_role_arn]
}

run "task_role_by_name" {
  command = plan

  variables {
    task_role_arn = "task"
  }

  expect_failures = [var.task_role_arn]
}

run "log_group_with_space" {
  command = plan

  variables {
    log_group_name = "my logs"
  }

  expect_failures = [var.log_group_name]
}

run "tag_of_our_own" {
  command = plan

  variables {
    tags = { Stage = "production" }
  }

  expect_failures = [var.tags]
}

run "architecture_that_is_none" {
  command = plan

  variables {
    cpu_architecture = "arm64"
  }

  expect_failures = [var.cpu_architecture]
}
