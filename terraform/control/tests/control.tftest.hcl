# Plans on a mocked provider: what the machine is, who reaches it, what it may do. No AWS, no network.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }

  mock_data "aws_ssm_parameter" {
    defaults = {
      insecure_value = "ami-0123456789abcdef0"
    }
  }

  mock_data "aws_subnet" {
    defaults = {
      vpc_id            = "vpc-0123456789abcdef0"
      availability_zone = "ap-southeast-1c"
    }
  }

  # What is only known after an apply, so that policies and user data can be read in a plan.
  override_during = plan

  mock_resource "aws_secretsmanager_secret" {
    defaults = {
      arn = "arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:cursive-team/connections/production-control-a1B2c3"
    }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = {
      arn = "arn:aws:logs:ap-southeast-1:123456789012:log-group:cursive-team-connections-production-control"
    }
  }

  mock_resource "aws_ebs_volume" {
    defaults = {
      id = "vol-0123456789abcdef0"
    }
  }

  mock_resource "aws_eip" {
    defaults = {
      public_ip = "198.51.100.7"
    }
  }

  mock_resource "aws_security_group" {
    defaults = {
      id = "sg-0123456789abcdef0"
    }
  }

  mock_resource "aws_instance" {
    defaults = {
      id = "i-0123456789abcdef0"
    }
  }
}

variables {
  region               = "ap-southeast-1"
  aws_account_number   = "123456789012"
  namespace            = "cursive-team"
  name                 = "connections"
  stage                = "production"
  host_name            = "release.example.com"
  operator_cidrs       = ["203.0.113.0/24"]
  pointsman_repository = "https://github.com/cursive-team/pointsman.git"
  pointsman_ref        = "v0.1.0"
}

# ---- Credentials of the machine ----

run "credentials_are_given_to_the_machine_itself_and_only_for_a_token" {
  command = plan

  assert {
    condition     = aws_instance.machine.metadata_options[0].http_tokens == "required"
    error_message = "The metadata service must ask for a token: what a build's ADD fetches has none."
  }

  assert {
    condition     = aws_instance.machine.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "A token must not survive the hop into a container."
  }

  assert {
    condition     = aws_instance.machine.metadata_options[0].http_protocol_ipv6 == "disabled" && aws_instance.machine.metadata_options[0].instance_metadata_tags == "disabled"
    error_message = "There must be no second address of the metadata service."
  }
}

run "the_role_takes_its_own_stages_roles_and_the_one_that_reads" {
  command = plan

  assert {
    condition = flatten([for statement in jsondecode(aws_iam_role_policy.machine.policy).Statement : statement.Resource if contains(statement.Action, "sts:AssumeRole")]) == [
      "arn:aws:iam::123456789012:role/cursive-team-connections-production-pipeline",
      "arn:aws:iam::123456789012:role/cursive-team-connections-production-reconciler",
      "arn:aws:iam::123456789012:role/cursive-team-connections-operator",
    ]
    error_message = "The machine may take its stage's two roles and the one that only reads, and no other."
  }

  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.machine.policy).Statement : statement.Action])) == toset([
      "cloudwatch:PutMetricData", "logs:CreateLogStream", "logs:PutLogEvents", "secretsmanager:GetSecretValue",
      "ssm:UpdateInstanceInformation", "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel", "sts:AssumeRole",
    ])
    error_message = "The role's rights must be exactly these."
  }

  assert {
    condition     = alltrue([for statement in jsondecode(aws_iam_role_policy.machine.policy).Statement : statement.Effect == "Allow" && can(statement.Action[0])])
    error_message = "Each statement must allow a list of actions: the assertions here read those."
  }

  assert {
    condition     = aws_iam_role.machine.name == "release-worker" && jsondecode(aws_iam_role.machine.assume_role_policy).Statement == [{ Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" }]
    error_message = "Only EC2 may give the role, and it must have the name that the trust policies name."
  }
}

run "the_role_reads_one_secret" {
  command = plan

  assert {
    condition     = flatten([for statement in jsondecode(aws_iam_role_policy.machine.policy).Statement : statement.Resource if anytrue([for action in statement.Action : startswith(action, "secretsmanager:")])]) == ["arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:cursive-team/connections/production-control-a1B2c3"]
    error_message = "The machine may read its own secret and no other."
  }

  assert {
    condition     = toset([for statement in jsondecode(aws_iam_role_policy.machine.policy).Statement : statement.Sid if statement.Resource == ["*"]]) == toset(["ReportItself", "SessionManager"])
    error_message = "Only what AWS can't limit to a resource may be granted on all."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.machine.policy).Statement : statement.Condition if statement.Sid == "ReportItself"] == [{ StringEquals = { "cloudwatch:namespace" = "Pointsman" } }]
    error_message = "The machine must not write metrics that other alarms rest on."
  }
}

run "a_boundary_holds_both_roles" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
  }

  assert {
    condition     = aws_iam_role.machine.permissions_boundary == var.permissions_boundary_arn && aws_iam_role.snapshots.permissions_boundary == var.permissions_boundary_arn
    error_message = "Each role made here must be under the boundary."
  }
}

run "backups_are_written_and_never_read_or_deleted" {
  command = plan

  variables {
    backup_bucket = "cursive-team-connections-state"
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.machine.policy).Statement : [statement.Action, statement.Resource] if anytrue([for action in statement.Action : startswith(action, "s3:")])] == [[["s3:PutObject"], ["arn:aws:s3:::cursive-team-connections-state/control/production/*"]]]
    error_message = "The machine may add backups in its own folder, and do nothing else in S3."
  }
}

# ---- Who reaches the machine ----

run "nothing_comes_in_but_443_from_named_ranges" {
  command = plan

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.https : rule.from_port == 443 && rule.to_port == 443 && rule.ip_protocol == "tcp" && rule.security_group_id == aws_security_group.machine.id])
    error_message = "Port 443 must be the only one that is open."
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.https : rule.cidr_ipv4]) == toset(["140.82.112.0/20", "143.55.64.0/20", "185.199.108.0/22", "192.30.252.0/22", "203.0.113.0/24"])
    error_message = "Only GitHub's webhook and the operators may come in."
  }

  assert {
    condition     = aws_instance.machine.vpc_security_group_ids == toset([aws_security_group.machine.id])
    error_message = "The machine must be in that group alone."
  }
}

run "a_certificate_authority_opens_443_and_nothing_else" {
  command = plan

  variables {
    acme_email = "ops@example.com"
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.https : rule.from_port == 443 && rule.to_port == 443]) && contains([for rule in aws_vpc_security_group_ingress_rule.https : rule.cidr_ipv4], "0.0.0.0/0")
    error_message = "A certificate authority must reach port 443, from any address, and no other port."
  }

  assert {
    condition     = local.compose_settings.POINTSMAN_TLS == "ops@example.com" && !contains(keys(local.compose_override.services.proxy), "volumes") && !strcontains(local.machine_settings.SECRET_FILES, "certificate")
    error_message = "The proxy must get its certificate itself then."
  }
}

run "ssh_is_closed" {
  command = plan

  assert {
    condition     = !contains([for rule in aws_vpc_security_group_ingress_rule.https : rule.from_port], 22)
    error_message = "SSH's port must be closed."
  }
}

run "calls_go_out_on_named_ports" {
  command = plan

  assert {
    condition     = toset([for rule in aws_vpc_security_group_egress_rule.machine : tostring(rule.from_port)]) == toset(["80", "443", "8081", "8082"]) && alltrue([for rule in aws_vpc_security_group_egress_rule.machine : rule.from_port == rule.to_port && rule.ip_protocol == "tcp"])
    error_message = "The machine must call out on the named ports alone."
  }
}

run "the_address_is_what_environments_admit" {
  command = plan

  assert {
    condition     = output.test_listener_cidr == "198.51.100.7/32" && output.address == "198.51.100.7"
    error_message = "The machine's own address is what test_listener_cidrs must hold."
  }

  assert {
    condition     = length(aws_route53_record.machine) == 0
    error_message = "Without a zone there must be no record."
  }
}

run "the_name_points_at_the_machine" {
  command = plan

  variables {
    zone_id = "Z0123456789ABCDEFGHIJ"
  }

  assert {
    condition     = aws_route53_record.machine[0].name == "release.example.com" && aws_route53_record.machine[0].type == "A" && aws_route53_record.machine[0].records == toset(["198.51.100.7"])
    error_message = "The name must point at the machine's address."
  }
}

# ---- Where it stands ----

run "a_network_of_its_own" {
  command = plan

  assert {
    condition     = length(aws_vpc.main) == 1 && aws_subnet.public[0].availability_zone == "ap-southeast-1a" && aws_ebs_volume.data.availability_zone == "ap-southeast-1a"
    error_message = "Without a subnet the machine gets a network, in whose zone its volume is."
  }
}

run "a_given_subnet_is_used_as_it_is" {
  command = plan

  variables {
    subnet_id = "subnet-0123456789abcdef0"
  }

  assert {
    condition     = length(aws_vpc.main) + length(aws_subnet.public) + length(aws_internet_gateway.main) + length(aws_route.internet) + length(aws_default_security_group.closed) == 0
    error_message = "In a network that exists nothing of it must be made or taken over."
  }

  assert {
    condition     = aws_instance.machine.subnet_id == "subnet-0123456789abcdef0" && aws_security_group.machine.vpc_id == "vpc-0123456789abcdef0" && aws_ebs_volume.data.availability_zone == "ap-southeast-1c"
    error_message = "The machine, its group and its volume must follow the given subnet."
  }
}

# ---- What it keeps ----

run "all_volumes_are_encrypted" {
  command = plan

  assert {
    condition     = aws_instance.machine.root_block_device[0].encrypted && aws_instance.machine.root_block_device[0].volume_type == "gp3"
    error_message = "The root volume must be encrypted."
  }

  assert {
    condition     = aws_ebs_volume.data.encrypted && aws_ebs_volume.data.type == "gp3"
    error_message = "The data volume must be encrypted."
  }

  assert {
    condition     = length(aws_instance.machine.ebs_block_device) == 0
    error_message = "Data must be on the volume that outlives the machine, not on one that ends with it."
  }
}

run "the_data_volume_has_a_snapshot_each_day" {
  command = plan

  variables {
    snapshot_days = 7
  }

  assert {
    condition     = aws_dlm_lifecycle_policy.data.state == "ENABLED" && aws_dlm_lifecycle_policy.data.policy_details[0].resource_types == tolist(["VOLUME"])
    error_message = "Snapshots must be on."
  }

  assert {
    condition     = aws_dlm_lifecycle_policy.data.policy_details[0].target_tags == tomap({ Snapshots = aws_ebs_volume.data.tags["Snapshots"] })
    error_message = "The policy must find the data volume by its tag."
  }

  assert {
    condition     = aws_dlm_lifecycle_policy.data.policy_details[0].schedule[0].create_rule[0].interval == 24 && aws_dlm_lifecycle_policy.data.policy_details[0].schedule[0].create_rule[0].interval_unit == "HOURS" && aws_dlm_lifecycle_policy.data.policy_details[0].schedule[0].retain_rule[0].count == 7
    error_message = "There must be one a day, kept for snapshot_days."
  }

  assert {
    condition     = jsondecode(aws_iam_role.snapshots.assume_role_policy).Statement[0].Principal == { Service = "dlm.amazonaws.com" } && jsondecode(aws_iam_role.snapshots.assume_role_policy).Statement[0].Condition == { StringEquals = { "aws:SourceAccount" = "123456789012" } }
    error_message = "Only this account's lifecycle policies may take the role of snapshots."
  }
}

run "a_snapshot_becomes_the_data_volume" {
  command = plan

  variables {
    data_snapshot_id = "snap-0123456789abcdef0"
  }

  assert {
    condition     = aws_ebs_volume.data.snapshot_id == "snap-0123456789abcdef0"
    error_message = "A named snapshot must be what the volume is made of."
  }
}

# ---- When it fails ----

run "a_failed_host_is_left_and_a_hung_system_is_rebooted" {
  command = plan

  variables {
    alarm_action_arns = ["arn:aws:sns:ap-southeast-1:123456789012:on-call"]
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.host.metric_name == "StatusCheckFailed_System" && aws_cloudwatch_metric_alarm.host.alarm_actions == toset(["arn:aws:automate:ap-southeast-1:ec2:recover", "arn:aws:sns:ap-southeast-1:123456789012:on-call"])
    error_message = "A failed host must be left by recovery."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.system.metric_name == "StatusCheckFailed_Instance" && aws_cloudwatch_metric_alarm.system.alarm_actions == toset(["arn:aws:automate:ap-southeast-1:ec2:reboot", "arn:aws:sns:ap-southeast-1:123456789012:on-call"])
    error_message = "A hung system must be rebooted."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.host.dimensions == tomap({ InstanceId = aws_instance.machine.id }) && aws_cloudwatch_metric_alarm.system.dimensions == tomap({ InstanceId = aws_instance.machine.id })
    error_message = "Both must watch this machine."
  }
}

run "full_disks_sick_parts_and_silence_raise_an_alarm" {
  command = plan

  variables {
    alarm_action_arns = ["arn:aws:sns:ap-southeast-1:123456789012:on-call"]
  }

  assert {
    condition     = { for name, alarm in aws_cloudwatch_metric_alarm.reported : name => [alarm.metric_name, alarm.threshold, alarm.treat_missing_data] } == { disk = ["DiskUsedPercent", 85, "breaching"], parts = ["Unhealthy", 1, "breaching"] }
    error_message = "A full disk, a sick part and silence must raise an alarm."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.reported : alarm.alarm_actions == toset(["arn:aws:sns:ap-southeast-1:123456789012:on-call"])])
    error_message = "The alarms must tell whom they are meant to tell."
  }
}

# ---- What it is given ----

run "user_data_fits_and_does_not_replace_the_machine" {
  command = plan

  assert {
    condition     = length(aws_instance.machine.user_data_base64) <= 16384 * 4 / 3
    error_message = "EC2 takes 16 KiB of user data."
  }

  assert {
    condition     = aws_instance.machine.user_data_replace_on_change == false
    error_message = "Other user data must not replace the machine."
  }
}

# Anybody who may describe the instance reads it. What it says beside the programs is in these two maps.
run "user_data_names_the_secret_and_holds_none" {
  command = plan

  assert {
    condition = local.machine_settings == {
      BACKUP_URL        = ""
      DATA_DEVICE       = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0"
      ENVIRONMENT       = "production"
      METRIC_DIMENSIONS = "Machine=cursive-team-connections-production-control"
      REF               = "v0.1.0"
      REGION            = "ap-southeast-1"
      REPOSITORY        = "https://github.com/cursive-team/pointsman.git"
      SECRET_FILES      = "database-password prefect-auth webhook-secrets certificate certificate-key"
      SECRET_ID         = "cursive-team/connections/production-control"
    }
    error_message = "The machine's settings must be these, and none a secret."
  }

  assert {
    condition = local.compose_settings == {
      POINTSMAN_BACKUPS_FOLDER  = "/data/backups"
      POINTSMAN_ENVIRONMENT     = "production"
      POINTSMAN_HOST            = "release.example.com"
      POINTSMAN_OPERATOR_RANGES = "127.0.0.0/8 203.0.113.0/24"
      POINTSMAN_SECRETS_FOLDER  = "/run/pointsman/secrets"
      POINTSMAN_TLS             = "/run/secrets/certificate /run/secrets/certificate-key"
    }
    error_message = "The containers' settings must be these, and none a secret."
  }

  assert {
    condition     = local.compose_override.services.proxy.volumes == ["/run/pointsman/secrets/certificate:/run/secrets/certificate:ro", "/run/pointsman/secrets/certificate-key:/run/secrets/certificate-key:ro"]
    error_message = "The certificate must come out of the folder that is in memory."
  }

  assert {
    condition     = alltrue([for service in local.compose_override.services : service.logging.driver == "awslogs" && service.logging.options.awslogs-group == aws_cloudwatch_log_group.machine.name && service.logging.options.mode == "non-blocking"])
    error_message = "Each part must write into the machine's log group, and none must wait for it."
  }
}

run "an_arm64_machine_gets_an_arm64_image" {
  command = plan

  variables {
    architecture  = "arm64"
    instance_type = "t4g.large"
  }

  assert {
    condition     = data.aws_ssm_parameter.image.name == "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
    error_message = "The image must be of the machine's architecture."
  }
}
