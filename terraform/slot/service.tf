resource "aws_ecs_service" "slot" {
  name            = "${var.name}-${var.stage}-${var.colour}"
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.service.arn
  launch_type     = "FARGATE"

  # The slot is made, and re-made, empty: only the release starts tasks, once the migration has run.
  desired_count         = 0
  wait_for_steady_state = false

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = var.health_check_grace_period_seconds
  enable_execute_command             = false

  # Tasks cost, services don't: tasks carry their definition's tags, which come with each release, and AWS's own.
  propagate_tags          = "TASK_DEFINITION"
  enable_ecs_managed_tags = true

  deployment_controller {
    type = "ECS"
  }

  # No rollback by ECS: in a slot that was vacated there is nothing to return to; traffic goes back by the listener.
  deployment_circuit_breaker {
    enable   = true
    rollback = false
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = var.target_group_arn
    container_name   = var.name
    container_port   = var.container_port
  }

  lifecycle {
    ignore_changes = [desired_count]
  }
}
