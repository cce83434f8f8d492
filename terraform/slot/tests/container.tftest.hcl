# How the containers are run: what is asked for reaches them, and what is not leaves no trace. Plans on a mocked provider.

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
run "what_is_asked_for_reaches_the_application_s_container" {
  command = plan

  variables {
    ephemeral_storage = 30
    container = {
      command      = ["node", "web.js"]
      entry_point  = ["/bin/tini", "--"]
      user         = "1000:1000"
      stop_timeout = 90
      init_process = true
      ulimits      = { nofile = { soft = 4096, hard = 8192 } }
      extra_ports  = [9090]
      health_check = { command = ["CMD", "node", "check.js"], retries = 2 }
    }
  }

  assert {
    condition = {
      for key, value in jsondecode(aws_ecs_task_definition.service.container_definitions)[0] : key => value
      if !contains(["name", "image", "essential", "environment", "secrets", "logConfiguration"], key)
      } == {
      command         = ["node", "web.js"]
      entryPoint      = ["/bin/tini", "--"]
      user            = "1000:1000"
      stopTimeout     = 90
      linuxParameters = { initProcessEnabled = true }
      ulimits         = [{ name = "nofile", softLimit = 4096, hardLimit = 8192 }]
      healthCheck     = { command = ["CMD", "node", "check.js"], interval = 30, timeout = 5, retries = 2, startPeriod = 0 }
      portMappings = [
        { containerPort = 8080, hostPort = 8080, protocol = "tcp" },
        { containerPort = 9090, hostPort = 9090, protocol = "tcp" },
      ]
    }
    error_message = "Command, entry point, user, stop timeout, init, limits, health check and ports must be as asked."
  }

  assert {
    condition     = one(aws_ecs_task_definition.service.ephemeral_storage).size_in_gib == 30 && one(aws_ecs_task_definition.migration.ephemeral_storage).size_in_gib == 30
    error_message = "Both tasks must have the disk that was asked for."
  }

  assert {
    condition = {
      for key, value in jsondecode(aws_ecs_task_definition.migration.container_definitions)[0] : key => value
      if contains(["command", "entryPoint", "user", "stopTimeout", "linuxParameters", "ulimits", "healthCheck", "portMappings"], key)
    } == { command = ["npx", "prisma", "migrate", "deploy"], user = "1000:1000" }
    error_message = "The migration must run its own command as the same user, and nothing else of the application's."
  }
}

run "a_task_has_fargate_s_own_disk_by_default" {
  command = plan

  assert {
    condition     = length(aws_ecs_task_definition.service.ephemeral_storage) == 0 && length(aws_ecs_task_definition.migration.ephemeral_storage) == 0
    error_message = "Without ephemeral_storage neither task may ask for disk."
  }
}

run "command_with_an_empty_word" {
  command = plan

  variables {
    container = { command = ["node", ""] }
  }

  expect_failures = [var.container]
}

run "user_with_two_groups" {
  command = plan

  variables {
    container = { user = "a:b:c" }
  }

  expect_failures = [var.container]
}

run "stop_timeout_beyond_fargate" {
  command = plan

  variables {
    container = { stop_timeout = 121 }
  }

  expect_failures = [var.container]
}

run "ulimit_that_fargate_lacks" {
  command = plan

  variables {
    container = { ulimits = { nproc = { soft = 1, hard = 1 } } }
  }

  expect_failures = [var.container]
}

run "ulimit_above_its_hard_one" {
  command = plan

  variables {
    container = { ulimits = { nofile = { soft = 2, hard = 1 } } }
  }

  expect_failures = [var.container]
}

run "port_that_stands_twice" {
  command = plan

  variables {
    container = { extra_ports = [8080] }
  }

  expect_failures = [var.container]
}

run "health_check_of_no_kind" {
  command = plan

  variables {
    container = { health_check = { command = ["curl", "localhost"] } }
  }

  expect_failures = [var.container]
}

run "health_check_line_in_words" {
  command = plan

  variables {
    container = { health_check = { command = ["CMD-SHELL", "curl", "localhost"] } }
  }

  expect_failures = [var.container]
}

run "health_check_too_often" {
  command = plan

  variables {
    container = { health_check = { command = ["CMD", "true"], interval = 4 } }
  }

  expect_failures = [var.container]
}

run "disk_smaller_than_fargate_s_own" {
  command = plan

  variables {
    ephemeral_storage = 20
  }

  expect_failures = [var.ephemeral_storage]
}

run "secrets_may_be_whole_and_parameters" {
  command = plan

  variables {
    secrets = {
      WHOLE     = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:app-AbCdEf"
      PARAMETER = "arn:aws:ssm:ap-southeast-1:123456789012:parameter/connections/url"
      RDS       = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:rds!db-1f2e-AbCdEf:password::"
    }
  }

  assert {
    condition     = tomap({ for secret in jsondecode(aws_ecs_task_definition.service.container_definitions)[0].secrets : secret.name => secret.valueFrom }) == var.secrets
    error_message = "Each secret's address must reach the container as it is."
  }
}

run "parameter_by_name" {
  command = plan

  variables {
    secrets = { URL = "/connections/url" }
  }

  expect_failures = [var.secrets]
}

run "containers_beside_the_application_s_are_of_the_task" {
  command = plan

  variables {
    container = { depends_on = { proxy = "HEALTHY" } }
    sidecars = [{
      name         = "proxy"
      image        = "public.ecr.aws/x/proxy@sha256:0000000000000000000000000000000000000000000000000000000000000002"
      essential    = false
      command      = ["serve"]
      variables    = { LEVEL = "info" }
      secrets      = { KEY = "arn:aws:ssm:ap-southeast-1:123456789012:parameter/key" }
      extra_ports  = [9000]
      health_check = { command = ["CMD", "ok"] }
    }]
  }

  assert {
    condition = jsondecode(aws_ecs_task_definition.service.container_definitions)[1] == {
      name         = "proxy"
      image        = var.sidecars[0].image
      essential    = false
      command      = ["serve"]
      environment  = [{ name = "LEVEL", value = "info" }]
      secrets      = [{ name = "KEY", valueFrom = "arn:aws:ssm:ap-southeast-1:123456789012:parameter/key" }]
      portMappings = [{ containerPort = 9000, hostPort = 9000, protocol = "tcp" }]
      healthCheck  = { command = ["CMD", "ok"], interval = 30, timeout = 5, retries = 3, startPeriod = 0 }
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = "cursive-team-connections-staging"
          awslogs-region        = "ap-southeast-1"
          awslogs-stream-prefix = "green"
        }
      }
    }
    error_message = "The container beside the application's must be as asked."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.service.container_definitions)[0].dependsOn == [{ containerName = "proxy", condition = "HEALTHY" }]
    error_message = "The application must wait for what it depends on."
  }

  assert {
    condition     = length(jsondecode(aws_ecs_task_definition.migration.container_definitions)) == 1
    error_message = "The migration's task has one container."
  }
}

run "sidecar_by_tag" {
  command = plan

  variables {
    sidecars = [{ name = "proxy", image = "public.ecr.aws/x/proxy:1.2" }]
  }

  expect_failures = [var.sidecars]
}

run "sidecar_named_as_the_application" {
  command = plan

  variables {
    sidecars = [{ name = "connections", image = "x@sha256:0000000000000000000000000000000000000000000000000000000000000002" }]
  }

  expect_failures = [var.sidecars]
}

run "dependency_on_no_container" {
  command = plan

  variables {
    container = { depends_on = { gone = "START" } }
  }

  expect_failures = [var.sidecars]
}

run "file_systems_are_mounted_by_the_application_alone" {
  command = plan

  variables {
    container = { mounts = { files = { path = "/files", read_only = true } } }
    volumes   = { files = { file_system = "fs-0a1b2c3d", access_point = "fsap-0a1b2c3d", iam = true } }
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.service.container_definitions)[0].mountPoints == [{ sourceVolume = "files", containerPath = "/files", readOnly = true }]
    error_message = "The application must see the file system where it was asked for."
  }

  assert {
    condition = [for volume in aws_ecs_task_definition.service.volume : [volume.name, volume.efs_volume_configuration[0].file_system_id, volume.efs_volume_configuration[0].transit_encryption, volume.efs_volume_configuration[0].authorization_config[0].access_point_id, volume.efs_volume_configuration[0].authorization_config[0].iam]] == [
      ["files", "fs-0a1b2c3d", "ENABLED", "fsap-0a1b2c3d", "ENABLED"],
    ]
    error_message = "The volume must be the file system, encrypted on its way, by its access point and the task's role."
  }

  assert {
    condition     = length(aws_ecs_task_definition.migration.volume) == 0
    error_message = "The migration's task mounts nothing."
  }
}

run "file_system_by_name" {
  command = plan

  variables {
    volumes = { files = { file_system = "files" } }
  }

  expect_failures = [var.volumes]
}

run "access_point_with_a_directory" {
  command = plan

  variables {
    volumes = { files = { file_system = "fs-0a1b2c3d", access_point = "fsap-0a1b2c3d", root_directory = "/x" } }
  }

  expect_failures = [var.volumes]
}

run "mount_of_no_volume" {
  command = plan

  variables {
    container = { mounts = { files = { path = "/files" } } }
  }

  expect_failures = [var.volumes]
}
