# Plans on a mocked provider: what a slot is made of. No AWS, no network.

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

run "service_container_is_the_release_and_nothing_else" {
  command = plan

  assert {
    condition = jsondecode(aws_ecs_task_definition.service.container_definitions) == [{
      name      = "connections"
      image     = var.image
      essential = true
      environment = [
        { name = "LOG_LEVEL", value = "info" },
        { name = "POINTSMAN_COLOUR", value = "green" },
        { name = "POINTSMAN_REVISION", value = "3f2a9c1" },
        { name = "POINTSMAN_VERSION", value = "v1.4.0-rc.1+build.7" },
        { name = "ZONE", value = "Asia/Singapore" },
      ]
      secrets = [
        { name = "DATABASE_URL", valueFrom = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:app-AbCdEf:SECRET_DATABASE_URL::" },
      ]
      portMappings = [{ containerPort = 8080, hostPort = 8080, protocol = "tcp" }]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = "cursive-team-connections-staging"
          awslogs-region        = "ap-southeast-1"
          awslogs-stream-prefix = "green"
        }
      }
    }]
    error_message = "The service's container must be the image by digest, the declared variables with ours, the secrets' addresses, one port and the log group."
  }

  assert {
    condition     = aws_ecs_task_definition.service.family == "cursive-team-connections-staging-green"
    error_message = "The service's family must carry namespace, name, stage and colour."
  }

  assert {
    condition     = aws_ecs_task_definition.service.cpu == "256" && aws_ecs_task_definition.service.memory == "512"
    error_message = "A task has 256 CPU units and 512 MiB by default."
  }
}

run "migration_runs_the_same_image_without_a_port" {
  command = plan

  assert {
    condition = jsondecode(aws_ecs_task_definition.migration.container_definitions) == [{
      name        = "connections"
      image       = var.image
      essential   = true
      command     = ["npx", "prisma", "migrate", "deploy"]
      environment = jsondecode(aws_ecs_task_definition.service.container_definitions)[0].environment
      secrets     = jsondecode(aws_ecs_task_definition.service.container_definitions)[0].secrets
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = "cursive-team-connections-staging"
          awslogs-region        = "ap-southeast-1"
          awslogs-stream-prefix = "green-migration"
        }
      }
    }]
    error_message = "The migration's container must be the service's image, variables and secrets with the migration's command."
  }

  assert {
    condition     = aws_ecs_task_definition.migration.family == "cursive-team-connections-staging-green-migration"
    error_message = "The migration's family must be the service's with -migration."
  }
}

run "migration_may_have_its_own_entry_point_and_secrets" {
  command = plan

  variables {
    migration_entry_point = ["/bin/sh", "-c"]
    migration_secrets     = { DATABASE_URL = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:owner-AbCdEf" }
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.migration.container_definitions)[0].entryPoint == ["/bin/sh", "-c"]
    error_message = "The migration's entry point must be the given one."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.migration.container_definitions)[0].secrets == [{ name = "DATABASE_URL", valueFrom = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:owner-AbCdEf" }]
    error_message = "The migration must read its own secret."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.service.container_definitions)[0].secrets[0].valueFrom == var.secrets.DATABASE_URL
    error_message = "The migration's secret must not reach the service."
  }

  assert {
    condition     = !can(jsondecode(aws_ecs_task_definition.service.container_definitions)[0].entryPoint)
    error_message = "The migration's entry point must not reach the service."
  }
}

run "migration_may_have_no_secrets_at_all" {
  command = plan

  variables {
    migration_secrets = {}
  }

  assert {
    condition     = length(jsondecode(aws_ecs_task_definition.migration.container_definitions)[0].secrets) == 0
    error_message = "An empty migration_secrets means none, not the service's."
  }
}

run "old_revisions_stay_for_rollback" {
  command = plan

  assert {
    condition     = aws_ecs_task_definition.service.skip_destroy && aws_ecs_task_definition.migration.skip_destroy
    error_message = "A release must not deregister the revision before."
  }
}

run "service_starts_empty_and_leaves_going_back_to_us" {
  command = plan

  assert {
    condition     = aws_ecs_service.slot.name == "connections-staging-green" && aws_ecs_service.slot.cluster == var.cluster_arn
    error_message = "The service must carry name, stage and colour and be in the environment's cluster."
  }

  assert {
    condition     = aws_ecs_service.slot.desired_count == 0
    error_message = "A service must be made with no task: new code never meets an old schema."
  }

  assert {
    condition     = aws_ecs_service.slot.deployment_controller[0].type == "ECS" && aws_ecs_service.slot.deployment_circuit_breaker[0].enable && !aws_ecs_service.slot.deployment_circuit_breaker[0].rollback
    error_message = "ECS must count failures and must not roll back by itself."
  }

  assert {
    condition     = aws_ecs_service.slot.network_configuration[0].subnets == toset(var.subnet_ids) && aws_ecs_service.slot.network_configuration[0].security_groups == toset([var.security_group_id]) && !aws_ecs_service.slot.network_configuration[0].assign_public_ip
    error_message = "Tasks must run in the given subnets and group without a public address."
  }

  assert {
    condition = one(aws_ecs_service.slot.load_balancer) == one([for registration in aws_ecs_service.slot.load_balancer : registration
    if registration.target_group_arn == var.target_group_arn && registration.container_name == "connections" && registration.container_port == 8080])
    error_message = "The service must register with its colour's target group, and with no other."
  }
}

run "tasks_are_paid_for_under_the_tags_of_their_release" {
  command = plan

  variables {
    tags = { CostCentre = "platform" }
  }

  assert {
    condition     = aws_ecs_service.slot.propagate_tags == "TASK_DEFINITION" && aws_ecs_service.slot.enable_ecs_managed_tags
    error_message = "Tasks must carry the tags of their definition, and those by which AWS tells services apart."
  }

  assert {
    condition     = aws_ecs_task_definition.service.tags == tomap({ CostCentre = "platform" }) && aws_ecs_task_definition.migration.tags == tomap({ CostCentre = "platform" })
    error_message = "Both definitions must carry the environment's tags."
  }
}

run "tasks_are_for_x86_unless_told_otherwise" {
  command = plan

  assert {
    condition     = alltrue([for definition in [aws_ecs_task_definition.service, aws_ecs_task_definition.migration] : definition.runtime_platform[0].cpu_architecture == "X86_64"])
    error_message = "A release of before runs on X86_64."
  }
}

run "tasks_and_migration_have_the_image_s_architecture" {
  command = plan

  variables {
    cpu_architecture = "ARM64"
  }

  assert {
    condition     = alltrue([for definition in [aws_ecs_task_definition.service, aws_ecs_task_definition.migration] : definition.runtime_platform[0].cpu_architecture == "ARM64" && definition.runtime_platform[0].operating_system_family == "LINUX"])
    error_message = "Both definitions must run what the image was built for."
  }
}
