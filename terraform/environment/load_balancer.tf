resource "aws_lb" "main" {
  name                       = local.short_name
  load_balancer_type         = "application"
  internal                   = var.internal
  subnets                    = [for subnet in(var.internal ? aws_subnet.private : aws_subnet.public) : subnet.id]
  security_groups            = [aws_security_group.load_balancer.id]
  drop_invalid_header_fields = true
  preserve_host_header       = var.preserve_host_header
  enable_deletion_protection = var.deletion_protection

  # Written also where it is off: of a block that is gone the provider keeps what was there.
  access_logs {
    enabled = var.access_logs
    bucket  = var.access_logs ? aws_s3_bucket.access_logs[0].id : ""
  }

  # AWS refuses a public load balancer in a VPC whose internet gateway is not attached yet, and the provider asks once. It
  # writes a first file into the bucket at once.
  depends_on = [
    aws_internet_gateway.main, aws_route.internet, aws_route_table_association.public, aws_s3_bucket_policy.access_logs,
  ]
}

resource "aws_lb_target_group" "colour" {
  for_each = local.colours

  name                 = "${local.short_name}-${each.key}"
  vpc_id               = aws_vpc.main.id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = 8080 # only a default: ECS registers each task with the port that its own release listens on
  deregistration_delay = var.deregistration_delay_seconds

  health_check {
    protocol            = "HTTP"
    port                = "traffic-port"
    path                = var.health_check_path
    matcher             = var.health_check_matcher
    interval            = var.health_check.interval
    timeout             = var.health_check.timeout
    healthy_threshold   = var.health_check.healthy_threshold
    unhealthy_threshold = var.health_check.unhealthy_threshold
  }

  # A new port would replace a group that is in use. Path and matcher are each release's own: they are set while the slot is
  # empty, since tasks that run may not know a new one.
  lifecycle {
    ignore_changes = [port, health_check[0].path, health_check[0].matcher]
  }
}

# ---- Production: releases move the weights, hence ignore_changes; one resource a kind of listener, since what is
# ---- ignored would also keep a listener from becoming another kind

# Port 80 can't belong to two listeners, and Terraform doesn't order one resource's end before another's beginning.
# Both depend on this: it goes after the one has gone, and comes back before the other comes.
resource "terraform_data" "http_listener_kind" {
  triggers_replace = var.http_redirect ? "redirect" : "forward"
}

resource "aws_lb_listener" "http_forward" {
  count = var.http_redirect ? 0 : 1

  load_balancer_arn = aws_lb.main.arn
  port              = var.production_listener_port
  protocol          = "HTTP"

  default_action {
    type = "forward"

    forward {
      dynamic "target_group" {
        for_each = local.colours

        content {
          arn    = aws_lb_target_group.colour[target_group.key].arn
          weight = var.listener_weights[target_group.key]
        }
      }

      stickiness {
        enabled  = false
        duration = 1
      }
    }
  }

  depends_on = [terraform_data.http_listener_kind]

  lifecycle {
    ignore_changes = [default_action]
  }
}

resource "aws_lb_listener" "http_redirect" {
  count = var.http_redirect ? 1 : 0

  load_balancer_arn = aws_lb.main.arn
  port              = var.production_listener_port
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }

  depends_on = [aws_lb_listener.https, terraform_data.http_listener_kind]
}

resource "aws_lb_listener" "https" {
  count = var.certificate_arn == null ? 0 : 1

  load_balancer_arn = aws_lb.main.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type = "forward"

    forward {
      dynamic "target_group" {
        for_each = local.colours

        content {
          arn    = aws_lb_target_group.colour[target_group.key].arn
          weight = var.listener_weights[target_group.key]
        }
      }

      stickiness {
        enabled  = false
        duration = 1
      }
    }
  }

  lifecycle {
    ignore_changes = [default_action]
  }
}

# ---- Test: one listener a colour, so that both target groups are always attached and nothing moves for a test ----

resource "aws_lb_listener" "test" {
  for_each = local.colours

  load_balancer_arn = aws_lb.main.arn
  port              = var.test_listener_ports[each.key]
  protocol          = "HTTP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.colour[each.key].arn
  }
}
