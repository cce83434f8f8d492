# One port comes in, and a security group cannot tell paths apart. So the proxy behind it does: the receiver's one path,
# which asks for GitHub's signature, is everybody's; Prefect's UI and API, which ask for a password, are the operators'.

locals {
  inbound_cidrs = merge(
    { for range in var.webhook_cidrs : range => "GitHub's webhook" },
    { for range in var.operator_cidrs : range => "Operators of Prefect's UI" },
    var.acme_email != null ? { "0.0.0.0/0" = "The certificate authority, which asks from any address" } : {},
  )
}

resource "aws_security_group" "machine" {
  name        = local.prefix
  description = "The machine that releases into ${local.stage_prefix}"
  vpc_id      = local.vpc_id

  tags = { Name = local.prefix }
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  for_each = local.inbound_cidrs

  security_group_id = aws_security_group.machine.id
  description       = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.key
}

# By port and not by range: AWS, GitHub, registries and the load balancers have no fixed addresses. DNS and time come
# from the VPC's own services, which security groups don't filter.
# https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html
resource "aws_vpc_security_group_egress_rule" "machine" {
  for_each = toset([for port in var.egress_ports : tostring(port)])

  security_group_id = aws_security_group.machine.id
  description       = "Out on port ${each.value}"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value)
  to_port           = tonumber(each.value)
  cidr_ipv4         = "0.0.0.0/0"
}
