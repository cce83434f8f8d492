# ---- Load balancer: the internet on the production ports, named ranges on the test ports ----

resource "aws_security_group" "load_balancer" {
  name        = "${local.prefix}-load-balancer"
  description = "Load balancer of ${local.prefix}"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${local.prefix}-load-balancer" }
}

resource "aws_vpc_security_group_ingress_rule" "production" {
  for_each = toset(concat([tostring(var.production_listener_port)], var.certificate_arn == null ? [] : ["443"]))

  security_group_id = aws_security_group.load_balancer.id
  description       = "Production traffic from the internet"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.key)
  to_port           = tonumber(each.key)
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_ingress_rule" "test" {
  for_each = {
    for pair in setproduct(local.colours, var.test_listener_cidrs) : "${pair[0]} ${pair[1]}" => { colour = pair[0], range = pair[1] }
  }

  security_group_id = aws_security_group.load_balancer.id
  description       = "Test listener of ${each.value.colour}"
  ip_protocol       = "tcp"
  from_port         = var.test_listener_ports[each.value.colour]
  to_port           = var.test_listener_ports[each.value.colour]
  cidr_ipv4         = each.value.range
}

resource "aws_vpc_security_group_egress_rule" "load_balancer_to_tasks" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "Requests and health checks to the tasks"
  ip_protocol                  = "tcp"
  from_port                    = var.container_port
  to_port                      = var.container_port
  referenced_security_group_id = aws_security_group.tasks.id
}

# ---- Tasks: the load balancer on the container's port, nobody else ----

resource "aws_security_group" "tasks" {
  name        = "${local.prefix}-tasks"
  description = "Tasks of ${local.prefix}"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${local.prefix}-tasks" }
}

resource "aws_vpc_security_group_ingress_rule" "tasks_from_load_balancer" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "Requests and health checks from the load balancer"
  ip_protocol                  = "tcp"
  from_port                    = var.container_port
  to_port                      = var.container_port
  referenced_security_group_id = aws_security_group.load_balancer.id
}

# All of it: image layers and secrets over 443, the database, and whatever else the application calls.
resource "aws_vpc_security_group_egress_rule" "tasks" {
  security_group_id = aws_security_group.tasks.id
  description       = "Registry, secrets, logs, database and what the application calls"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}
