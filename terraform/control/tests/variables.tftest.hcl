# Each rule on a variable refuses what it should refuse. Plans on a mocked provider.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
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

run "region_that_is_none" {
  command = plan

  variables {
    region = "Singapore"
  }

  expect_failures = [var.region]
}

run "account_number_too_short" {
  command = plan

  variables {
    aws_account_number = "12345678901"
  }

  expect_failures = [var.aws_account_number]
}

run "namespace_with_capitals" {
  command = plan

  variables {
    namespace = "Cursive"
  }

  expect_failures = [var.namespace]
}

run "name_ending_with_hyphen" {
  command = plan

  variables {
    name = "connections-"
  }

  expect_failures = [var.name]
}

run "stage_with_underscore" {
  command = plan

  variables {
    stage = "stag_ing"
  }

  expect_failures = [var.stage]
}

run "role_of_snapshots_with_a_name_of_65_characters" {
  command = plan

  variables {
    stage = "abcdefghijklmnopqrstuv"
  }

  expect_failures = [var.stage]
}

run "role_by_arn" {
  command = plan

  variables {
    role_name = "arn:aws:iam::123456789012:role/release-worker"
  }

  expect_failures = [var.role_name]
}

run "boundary_that_is_a_role" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:role/boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "host_name_with_a_scheme" {
  command = plan

  variables {
    host_name = "https://release.example.com"
  }

  expect_failures = [var.host_name]
}

run "host_name_without_a_domain" {
  command = plan

  variables {
    host_name = "release"
  }

  expect_failures = [var.host_name]
}

run "zone_by_name" {
  command = plan

  variables {
    zone_id = "example.com"
  }

  expect_failures = [var.zone_id]
}

run "certificate_authority_without_an_address" {
  command = plan

  variables {
    acme_email = "internal"
  }

  expect_failures = [var.acme_email]
}

run "setting_that_leaves_its_quotes" {
  command = plan

  variables {
    acme_email = "ops@example.com'; reboot; '"
  }

  expect_failures = [var.acme_email]
}

run "instance_type_of_before_nitro" {
  command = plan

  variables {
    instance_type = "t2.large"
  }

  expect_failures = [var.instance_type]
}

run "operators_everywhere" {
  command = plan

  variables {
    operator_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.operator_cidrs]
}

run "operators_in_a_share_of_the_internet" {
  command = plan

  variables {
    operator_cidrs = ["10.0.0.0/8"]
  }

  expect_failures = [var.operator_cidrs]
}

run "operators_by_name" {
  command = plan

  variables {
    operator_cidrs = ["office.example.com"]
  }

  expect_failures = [var.operator_cidrs]
}

run "webhook_from_everywhere" {
  command = plan

  variables {
    webhook_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.webhook_cidrs]
}

run "no_webhook" {
  command = plan

  variables {
    webhook_cidrs = []
  }

  expect_failures = [var.webhook_cidrs]
}

run "subnet_by_name" {
  command = plan

  variables {
    subnet_id = "public"
  }

  expect_failures = [var.subnet_id]
}

run "network_too_small" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0/29"
  }

  expect_failures = [var.vpc_cidr]
}

run "zone_by_its_whole_name" {
  command = plan

  variables {
    zone_letter = "ap-southeast-1a"
  }

  expect_failures = [var.zone_letter]
}

run "no_way_to_aws" {
  command = plan

  variables {
    egress_ports = [80]
  }

  expect_failures = [var.egress_ports]
}

run "architecture_by_another_name" {
  command = plan

  variables {
    architecture = "x86_64"
  }

  expect_failures = [var.architecture]
}

run "arm_instance_for_amd64" {
  command = plan

  variables {
    instance_type = "t4g.large"
  }

  expect_failures = [var.instance_type]
}

run "instance_type_that_is_none" {
  command = plan

  variables {
    instance_type = "large"
  }

  expect_failures = [var.instance_type]
}

run "data_volume_too_small" {
  command = plan

  variables {
    data_volume_gib = 20
  }

  expect_failures = [var.data_volume_gib]
}

run "snapshot_by_name" {
  command = plan

  variables {
    data_snapshot_id = "yesterday"
  }

  expect_failures = [var.data_snapshot_id]
}

run "repository_over_ssh" {
  command = plan

  variables {
    pointsman_repository = "git@github.com:cursive-team/pointsman.git"
  }

  expect_failures = [var.pointsman_repository]
}

run "repository_with_a_password" {
  command = plan

  variables {
    pointsman_repository = "https://user:password@github.com/cursive-team/pointsman.git"
  }

  expect_failures = [var.pointsman_repository]
}

run "ref_that_is_an_option" {
  command = plan

  variables {
    pointsman_ref = "--upload-pack=x"
  }

  expect_failures = [var.pointsman_ref]
}

run "no_snapshot" {
  command = plan

  variables {
    snapshot_days = 0
  }

  expect_failures = [var.snapshot_days]
}

run "snapshot_at_no_time" {
  command = plan

  variables {
    snapshot_time = "24:00"
  }

  expect_failures = [var.snapshot_time]
}

run "bucket_with_capitals" {
  command = plan

  variables {
    backup_bucket = "Backups"
  }

  expect_failures = [var.backup_bucket]
}

run "logs_kept_for_100_days" {
  command = plan

  variables {
    log_retention_days = 100
  }

  expect_failures = [var.log_retention_days]
}

run "alarm_action_by_address" {
  command = plan

  variables {
    alarm_action_arns = ["ops@example.com"]
  }

  expect_failures = [var.alarm_action_arns]
}

run "certificate_of_ones_own" {
  command = plan

  variables {
    operator_cidrs = []
  }

  assert {
    condition     = toset(keys(local.inbound_cidrs)) == var.webhook_cidrs
    error_message = "Without operators' ranges the UI is reached through Session Manager alone."
  }
}
