# https://docs.aws.amazon.com/linux/al2023/ug/ec2.html#launch-via-aws-cli
data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${var.architecture == "arm64" ? "arm64" : "x86_64"}"
}

resource "aws_instance" "machine" {
  ami                         = data.aws_ssm_parameter.image.insecure_value
  instance_type               = var.instance_type
  subnet_id                   = local.subnet_id
  vpc_security_group_ids      = [aws_security_group.machine.id]
  iam_instance_profile        = aws_iam_instance_profile.machine.name
  ebs_optimized               = true
  user_data_base64            = local.user_data
  user_data_replace_on_change = false

  # With a token only, and the answer that carries it does not survive the way into a container of a bridge network.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    http_protocol_ipv6          = "disabled"
    instance_metadata_tags      = "disabled"
  }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = 20
    encrypted             = true
    delete_on_termination = true

    tags = { Name = "${local.prefix}-root" }
  }

  tags = { Name = local.prefix }

  # Both are read at the first start only, and a change would stop the machine with whatever is in flight. A newer
  # image or other user data comes with `-replace=aws_instance.machine`.
  lifecycle {
    ignore_changes = [ami, user_data_base64]
  }

  depends_on = [aws_route.internet, aws_route_table_association.public, aws_iam_role_policy.machine]
}

# ---- What outlives the machine: Prefect's database, Docker's images and build cache, the checkout ----

resource "aws_ebs_volume" "data" {
  availability_zone = local.zone
  type              = "gp3"
  size              = var.data_volume_gib
  snapshot_id       = var.data_snapshot_id
  encrypted         = true

  tags = {
    Name      = "${local.prefix}-data"
    Snapshots = local.prefix
  }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_volume_attachment" "data" {
  device_name                    = "/dev/sdf"
  volume_id                      = aws_ebs_volume.data.id
  instance_id                    = aws_instance.machine.id
  stop_instance_before_detaching = true
}
