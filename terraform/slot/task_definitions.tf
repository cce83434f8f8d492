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

  # What a container does not ask for is left out, as it was before it could be asked for: an added key, even an empty
  # one, would make each release register what it has already.
  processes = { for name, container in merge({ (var.name) = var.container }, { for sidecar in var.sidecars : sidecar.name => sidecar }) : name =>
    { for key, value in {
      command         = length(container.command) == 0 ? null : container.command
      entryPoint      = length(container.entry_point) == 0 ? null : container.entry_point
      user            = container.user
      mountPoints     = length(container.mounts) == 0 ? null : [for volume, mount in container.mounts : { sourceVolume = volume, containerPath = mount.path, readOnly = mount.read_only }]
      stopTimeout     = container.stop_timeout
      linuxParameters = container.init_process ? { initProcessEnabled = true } : null
      ulimits         = length(container.ulimits) == 0 ? null : [for limit, value in container.ulimits : { name = limit, softLimit = value.soft, hardLimit = value.hard }]
      dependsOn       = length(container.depends_on) == 0 ? null : [for other, condition in container.depends_on : { containerName = other, condition = condition }]
      healthCheck = container.health_check == null ? null : {
        command     = container.health_check.command
        interval    = container.health_check.interval
        timeout     = container.health_check.timeout
        retries     = container.health_check.retries
        startPeriod = container.health_check.start_period
      }
    } : key => value if value != null }
  }

  service_container = merge(
    {
      name        = var.name
      image       = var.image
      essential   = true
      environment = local.environment
      secrets     = local.service_secrets
      portMappings = [for port in concat([var.container_port], var.container.extra_ports) : {
        containerPort = port
        hostPort      = port
        protocol      = "tcp"
      }]
      logConfiguration = {
        logDriver = "awslogs"
        options   = merge(local.log_options, { awslogs-stream-prefix = var.colour })
      }
    },
    local.processes[var.name],
  )

  sidecars = [for sidecar in var.sidecars : merge(
    {
      name         = sidecar.name
      image        = sidecar.image
      essential    = sidecar.essential
      environment  = [for key, value in sidecar.variables : { name = key, value = value }]
      secrets      = [for key, source in sidecar.secrets : { name = key, valueFrom = source }]
      portMappings = [for port in sidecar.extra_ports : { containerPort = port, hostPort = port, protocol = "tcp" }]
      logConfiguration = {
        logDriver = "awslogs"
        options   = merge(local.log_options, { awslogs-stream-prefix = var.colour })
      }
    },
    local.processes[sidecar.name],
  )]

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
    var.container.user == null ? {} : { user = var.container.user },
  )
}

# skip_destroy in both: a rollback starts an old revision, so a release must not deregister it.

resource "aws_ecs_task_definition" "service" {
  family                   = local.family
  container_definitions    = jsonencode(concat([local.service_container], local.sidecars))
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

  dynamic "volume" {
    for_each = var.volumes

    content {
      name = volume.key

      efs_volume_configuration {
        file_system_id     = volume.value.file_system
        root_directory     = volume.value.root_directory
        transit_encryption = "ENABLED"

        dynamic "authorization_config" {
          for_each = volume.value.access_point != null || volume.value.iam ? [volume.value] : []

          content {
            access_point_id = authorization_config.value.access_point
            iam             = authorization_config.value.iam ? "ENABLED" : "DISABLED"
          }
        }
      }
    }
  }

  dynamic "ephemeral_storage" {
    for_each = var.ephemeral_storage == null ? [] : [var.ephemeral_storage]

    content {
      size_in_gib = ephemeral_storage.value
    }
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

  dynamic "ephemeral_storage" {
    for_each = var.ephemeral_storage == null ? [] : [var.ephemeral_storage]

    content {
      size_in_gib = ephemeral_storage.value
    }
  }
}
