locals {
  prefix = "${var.namespace}-${var.name}-${var.stage}"
  family = "${local.prefix}-${var.colour}"
  tags   = length(var.tags) == 0 ? null : var.tags # an empty map would be wanted anew by each plan

  identity = {
    POINTSMAN_VERSION  = var.release_version
    POINTSMAN_REVISION = var.release_revision
    POINTSMAN_COLOUR   = var.colour
  }

  # Maps iterate in the order of their keys, so that the JSON changes only when a value does.
  environment       = [for key, value in merge(var.environment_variables, local.identity) : { name = key, value = value }]
  service_secrets   = [for key, source in var.secrets : { name = key, valueFrom = source }]
  migration_secrets = var.migration_secrets == null ? local.service_secrets : [for key, source in var.migration_secrets : { name = key, valueFrom = source }]

  log_options = {
    awslogs-group  = var.log_group_name
    awslogs-region = var.region
  }

  service_container = {
    name        = var.name
    image       = var.image
    essential   = true
    environment = local.environment
    secrets     = local.service_secrets
    portMappings = [{
      containerPort = var.container_port
      hostPort      = var.container_port
      protocol      = "tcp"
    }]
    logConfiguration = {
      logDriver = "awslogs"
      options   = merge(local.log_options, { awslogs-stream-prefix = var.colour })
    }
  }

  migration_container = merge(
    {
      name        = var.name
      image       = var.image
      essential   = true
      command     = var.migration_command
      environment = local.environment
      secrets     = local.migration_secrets
      logConfiguration = {
        logDriver = "awslogs"
        options   = merge(local.log_options, { awslogs-stream-prefix = "${var.colour}-migration" })
      }
    },
    length(var.migration_entry_point) == 0 ? {} : { entryPoint = var.migration_entry_point },
  )
}

# skip_destroy in both: a rollback starts an old revision, so a release must not deregister it.

resource "aws_ecs_task_definition" "service" {
  family                   = local.family
  container_definitions    = jsonencode([local.service_container])
  cpu                      = var.cpu
  memory                   = var.memory
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  execution_role_arn       = var.execution_role_arn
  task_role_arn            = var.task_role_arn
  skip_destroy             = true
  tags                     = local.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }
}

resource "aws_ecs_task_definition" "migration" {
  family                   = "${local.family}-migration"
  container_definitions    = jsonencode([local.migration_container])
  cpu                      = var.cpu
  memory                   = var.memory
  network_mode             = "awsvpc"
  requires_compatibilities = ["FARGATE"]
  execution_role_arn       = var.execution_role_arn
  task_role_arn            = var.task_role_arn
  skip_destroy             = true
  tags                     = local.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }
}
