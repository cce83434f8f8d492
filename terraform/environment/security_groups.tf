# ---- Load balancer: the internet, or named ranges, on the production ports; named ranges on the test ports ----

locals {
  production_cidrs = length(var.production_cidrs) > 0 ? var.production_cidrs : toset([var.internal ? var.vpc_cidr : "0.0.0.0/0"])
  production_ports = concat([tostring(var.production_listener_port)], var.certificate_arn == null ? [] : ["443"])

  # The internet's rule is named by its port alone, as it always was: another name would close the port for a moment.
  production_rules = {
    for pair in setproduct(local.production_ports, local.production_cidrs) :
    pair[1] == "0.0.0.0/0" ? pair[0] : "${pair[0]} ${pair[1]}" => { port = tonumber(pair[0]), range = pair[1] }
  }
}

resource "aws_security_group" "load_balancer" {
  name        = "${local.prefix}-load-balancer"
  description = "Load balancer of ${local.prefix}"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${local.prefix}-load-balancer" }
}

resource "aws_vpc_security_group_ingress_rule" "production" {
  for_each = local.production_rules

  security_group_id = aws_security_group.load_balancer.id
  description       = each.value.range == "0.0.0.0/0" ? "Production traffic from the internet" : "Production traffic from a named range"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.range
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
  from_port                    = 0
  to_port                      = 65535
  referenced_security_group_id = aws_security_group.tasks.id
}

# ---- Tasks: the load balancer, nobody else; on any port, since two releases side by side may listen on two ----

resource "aws_security_group" "tasks" {
  name        = "${local.prefix}-tasks"
  description = "Tasks of ${local.prefix}"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${local.prefix}-tasks" }
}

resource "aws_vpc_security_group_ingress_rule" "tasks_from_load_balancer" {
  #checkov:skip=CKV_AWS_24:it is open to a security group, not to addresses
  #checkov:skip=CKV_AWS_25:it is open to a security group, not to addresses
  #checkov:skip=CKV_AWS_260:it is open to a security group, not to addresses
  security_group_id            = aws_security_group.tasks.id
  description                  = "Requests and health checks from the load balancer"
  ip_protocol                  = "tcp"
  from_port                    = 0
  to_port                      = 65535
  referenced_security_group_id = aws_security_group.load_balancer.id
}

# All of it: image layers and secrets over 443, the database, and whatever else the application calls.
resource "aws_vpc_security_group_egress_rule" "tasks" {
  security_group_id = aws_security_group.tasks.id
  description       = "Registry, secrets, logs, database and what the application calls"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}
