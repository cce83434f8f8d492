# How the tasks get out: by a NAT gateway, by one in each zone, by an instance, or not at all. The first address stays the
# same between the first three, so that a database elsewhere goes on admitting it.

locals {
  # The zone of each way out; the first is in the first zone of the tasks, so that one zone pays for no traffic between zones.
  nat_zones = {
    gateway          = [local.task_zones[0]]
    gateway-per-zone = local.task_zones
    instance         = [local.task_zones[0]]
    none             = []
  }[var.nat]

  nat_gateways  = startswith(var.nat, "gateway") ? length(local.nat_zones) : 0
  nat_instances = var.nat == "instance" ? 1 : 0
}

resource "aws_eip" "nat" {
  count = length(local.nat_zones)

  domain = "vpc"

  tags = { Name = count.index == 0 ? "${local.prefix}-nat" : "${local.prefix}-nat-${local.nat_zones[count.index]}" }

  depends_on = [aws_internet_gateway.main]
}

moved {
  from = aws_eip.nat
  to   = aws_eip.nat[0]
}

# An address can't belong to two, and Terraform doesn't order one resource's end before another's beginning. Gateway and
# instance both depend on this: it goes after the one has gone, and comes back before the other comes.
resource "terraform_data" "nat_kind" {
  triggers_replace = var.nat == "instance" ? "instance" : "gateway"
}

# ---- Gateways ----

resource "aws_nat_gateway" "main" {
  count = local.nat_gateways

  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[local.nat_zones[count.index]].id

  tags = { Name = count.index == 0 ? local.prefix : "${local.prefix}-${local.nat_zones[count.index]}" }

  depends_on = [aws_internet_gateway.main, terraform_data.nat_kind]
}

moved {
  from = aws_nat_gateway.main
  to   = aws_nat_gateway.main[0]
}

resource "aws_route" "nat" {
  count = length(local.nat_zones)

  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = var.nat == "instance" ? null : aws_nat_gateway.main[count.index].id
  network_interface_id   = var.nat == "instance" ? aws_network_interface.nat[0].id : null
}

moved {
  from = aws_route.nat
  to   = aws_route.nat[0]
}

# ---- Instance: cheaper, and one machine. While it is replaced or restarts, nothing goes out ----

# Its interface is a resource of its own: it has the address before the machine starts, which needs it to install
# nftables, and keeps address and route when the machine is replaced.
resource "aws_network_interface" "nat" {
  count = local.nat_instances

  subnet_id         = aws_subnet.public[local.nat_zones[0]].id
  description       = "NAT instance of ${local.prefix}"
  security_groups   = [aws_security_group.nat[0].id]
  source_dest_check = false

  tags = { Name = "${local.prefix}-nat" }
}

resource "aws_eip_association" "nat" {
  count = local.nat_instances

  allocation_id        = aws_eip.nat[0].id
  network_interface_id = aws_network_interface.nat[0].id

  depends_on = [aws_internet_gateway.main, terraform_data.nat_kind]
}

resource "aws_security_group" "nat" {
  count = local.nat_instances

  name        = "${local.prefix}-nat"
  description = "NAT instance of ${local.prefix}"
  vpc_id      = aws_vpc.main.id

  tags = { Name = "${local.prefix}-nat" }
}

# By addresses: what is routed through it is not meant for it, and a group would not cover that.
resource "aws_vpc_security_group_ingress_rule" "nat_from_vpc" {
  count = local.nat_instances

  security_group_id = aws_security_group.nat[0].id
  description       = "Whatever the tasks send out"
  ip_protocol       = "-1"
  cidr_ipv4         = var.vpc_cidr
}

resource "aws_vpc_security_group_egress_rule" "nat" {
  count = local.nat_instances

  security_group_id = aws_security_group.nat[0].id
  description       = "Whatever the tasks send out, and updates"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

# https://docs.aws.amazon.com/linux/al2023/ug/ec2.html#launch-via-aws-cli
data "aws_ssm_parameter" "nat_image" {
  count = local.nat_instances

  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
}

# An image is never patched in place: Amazon Linux 2023 is bound to its release. A newer one comes with a new machine.
resource "terraform_data" "nat_instance_generation" {
  count = local.nat_instances

  triggers_replace = var.nat_instance_generation
}

# No role, no key, no way in.
resource "aws_instance" "nat" {
  #checkov:skip=CKV2_AWS_41:it calls no AWS API, so it has no role
  #checkov:skip=CKV_AWS_126:paid metrics by the minute, where those by five minutes show whether it lives
  count = local.nat_instances

  ami           = data.aws_ssm_parameter.nat_image[0].insecure_value
  instance_type = var.nat_instance_type
  ebs_optimized = true

  network_interface {
    device_index         = 0
    network_interface_id = aws_network_interface.nat[0].id
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted   = true
    volume_type = "gp3"
    volume_size = 8
  }

  # https://docs.aws.amazon.com/vpc/latest/userguide/work-with-nat-instances.html, by nftables instead of iptables
  user_data                   = templatefile("${path.module}/nat.sh.tftpl", { vpc_cidr = var.vpc_cidr })
  user_data_replace_on_change = true

  tags        = { Name = "${local.prefix}-nat" }
  volume_tags = { Name = "${local.prefix}-nat" }

  depends_on = [aws_eip_association.nat, aws_route_table_association.public]

  # AWS names a newer image every few weeks; a plan of something else must not cut the tasks off.
  lifecycle {
    ignore_changes       = [ami]
    replace_triggered_by = [terraform_data.nat_instance_generation]
  }
}
