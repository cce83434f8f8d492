# A network of the machine's own, or a public subnet that exists. One subnet: it is one machine.

locals {
  own_network = var.subnet_id == null
  subnet_id   = local.own_network ? one(aws_subnet.public[*].id) : var.subnet_id
  vpc_id      = local.own_network ? one(aws_vpc.main[*].id) : one(data.aws_subnet.given[*].vpc_id)
  zone        = local.own_network ? "${var.region}${var.zone_letter}" : one(data.aws_subnet.given[*].availability_zone)
}

data "aws_subnet" "given" {
  count = local.own_network ? 0 : 1

  id = var.subnet_id
}

resource "aws_vpc" "main" {
  count = local.own_network ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = local.prefix }
}

# Taken over to be emptied: what is attached to no group of ours reaches nothing.
resource "aws_default_security_group" "closed" {
  count = local.own_network ? 1 : 0

  vpc_id = aws_vpc.main[0].id

  tags = { Name = "${local.prefix}-default-closed" }
}

resource "aws_internet_gateway" "main" {
  count = local.own_network ? 1 : 0

  vpc_id = aws_vpc.main[0].id

  tags = { Name = local.prefix }
}

resource "aws_subnet" "public" {
  count = local.own_network ? 1 : 0

  vpc_id            = aws_vpc.main[0].id
  availability_zone = "${var.region}${var.zone_letter}"
  cidr_block        = var.vpc_cidr

  tags = { Name = "${local.prefix}-public" }
}

resource "aws_route_table" "public" {
  count = local.own_network ? 1 : 0

  vpc_id = aws_vpc.main[0].id

  tags = { Name = "${local.prefix}-public" }
}

resource "aws_route" "internet" {
  count = local.own_network ? 1 : 0

  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main[0].id
}

resource "aws_route_table_association" "public" {
  count = local.own_network ? 1 : 0

  subnet_id      = aws_subnet.public[0].id
  route_table_id = aws_route_table.public[0].id
}

# ---- The address: what GitHub and operators call, and what the environments' test listeners admit ----

resource "aws_eip" "machine" {
  domain = "vpc"

  tags = { Name = local.prefix }

  # Another address would be admitted by no environment's test listener, so no release could be tested.
  lifecycle {
    prevent_destroy = true
  }

  depends_on = [aws_internet_gateway.main]
}

resource "aws_eip_association" "machine" {
  allocation_id = aws_eip.machine.id
  instance_id   = aws_instance.machine.id
}

resource "aws_route53_record" "machine" {
  count = var.zone_id == null ? 0 : 1

  zone_id = var.zone_id
  name    = var.host_name
  type    = "A"
  ttl     = 300
  records = [aws_eip.machine.public_ip]
}
