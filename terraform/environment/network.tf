locals {
  # Each zone with its number in the address plan: /20s in a /16, public from 0, private from 8.
  zones = { for number, letter in sort(var.zone_letters) : "${var.region}${letter}" => number }

  # Those that tasks run in; the load balancer needs two zones, tasks only one.
  task_zones = [for letter in sort(coalesce(var.task_zone_letters, var.zone_letters)) : "${var.region}${letter}"]
}

resource "aws_vpc" "main" {
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = local.prefix }
}

# Taken over to be emptied: what is attached to no group of ours reaches nothing.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${local.prefix}-default-closed" }
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id

  tags = { Name = local.prefix }
}

# ---- Public: load balancer and the way out ----

resource "aws_subnet" "public" {
  for_each = local.zones

  vpc_id            = aws_vpc.main.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, each.value)

  tags = { Name = "${local.prefix}-public-${each.key}" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id

  tags = { Name = "${local.prefix}-public" }
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public.id
}

# ---- Private: tasks. Subnets cost nothing, so each zone has one, for an internal load balancer too ----

resource "aws_subnet" "private" {
  for_each = local.zones

  vpc_id            = aws_vpc.main.id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, each.value + 8)

  tags = { Name = "${local.prefix}-private-${each.key}" }
}

# One for all zones, or one for each way out.
resource "aws_route_table" "private" {
  count = max(1, length(local.nat_zones))

  vpc_id = aws_vpc.main.id

  tags = { Name = count.index == 0 ? "${local.prefix}-private" : "${local.prefix}-private-${local.nat_zones[count.index]}" }
}

moved {
  from = aws_route_table.private
  to   = aws_route_table.private[0]
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = aws_route_table.private[try(index(local.nat_zones, each.key), 0)].id
}
