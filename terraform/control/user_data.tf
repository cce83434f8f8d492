# What the machine does at its first start: cloud-init writes these files, and pointsman.service runs `prepare` now and
# at each later start. The programs are files of their own, so that they can be checked and run elsewhere; what differs
# between machines is in machine.env alone. Readable by whoever may call DescribeInstanceAttribute: no secret is in it.

locals {
  certificate_files = ["certificate", "certificate-key"]
  secret_files      = concat(["database-password", "prefect-auth", "webhook-secrets"], var.acme_email == null ? local.certificate_files : [])

  machine_settings = {
    REGION            = var.region
    ENVIRONMENT       = var.stage
    SECRET_FILES      = join(" ", local.secret_files)
    SECRET_ID         = aws_secretsmanager_secret.machine.name
    DATA_DEVICE       = "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${replace(aws_ebs_volume.data.id, "-", "")}"
    REPOSITORY        = var.pointsman_repository
    REF               = var.pointsman_ref
    METRIC_DIMENSIONS = "Machine=${local.prefix}"
    BACKUP_URL        = var.backup_bucket == null ? "" : "s3://${var.backup_bucket}/${local.backup_prefix}"
  }

  compose_settings = {
    POINTSMAN_ENVIRONMENT     = var.stage
    POINTSMAN_HOST            = var.host_name
    POINTSMAN_TLS             = coalesce(var.acme_email, join(" ", [for file in local.certificate_files : "/run/secrets/${file}"]))
    POINTSMAN_OPERATOR_RANGES = join(" ", concat(["127.0.0.0/8"], sort(var.operator_cidrs)))
    POINTSMAN_SECRETS_FOLDER  = "/run/pointsman/secrets"
    POINTSMAN_BACKUPS_FOLDER  = "/data/backups"
  }

  # Beside compose.yaml, where Docker Compose finds it. Without a blocking wait: a container must not stand still for its log.
  compose_override = {
    services = {
      for service in ["db", "server", "setup", "worker", "reconciler", "receiver", "proxy"] : service => merge(
        {
          logging = {
            driver = "awslogs"
            options = {
              awslogs-region = var.region
              awslogs-group  = aws_cloudwatch_log_group.machine.name
              awslogs-stream = service
              mode           = "non-blocking"
            }
          }
        },
        service != "proxy" || var.acme_email != null ? {} : {
          volumes = [for file in local.certificate_files : "/run/pointsman/secrets/${file}:/run/secrets/${file}:ro"]
        },
      )
    }
  }

  programs = ["prepare", "open-data", "close-metadata", "fetch-secrets", "report", "back-up"]
  units    = ["pointsman.service", "pointsman-report.service", "pointsman-report.timer", "pointsman-back-up.service", "pointsman-back-up.timer"]

  files = concat(
    [for program in local.programs : {
      path        = "/usr/local/sbin/pointsman-${program}"
      permissions = "0755"
      content     = file("${path.module}/machine/${program}")
    }],
    [for unit in local.units : {
      path        = "/etc/systemd/system/${unit}"
      permissions = "0644"
      content     = file("${path.module}/machine/${unit}")
    }],
    [
      {
        path        = "/etc/systemd/system/docker.service.d/close-metadata.conf"
        permissions = "0644"
        content     = file("${path.module}/machine/docker-close-metadata.conf")
      },
      {
        path        = "/etc/docker/daemon.json"
        permissions = "0644"
        content     = jsonencode({ data-root = "/data/docker" })
      },
      {
        path        = "/etc/pointsman/machine.env"
        permissions = "0644"
        content     = join("", [for name, value in local.machine_settings : "${name}='${value}'\n"])
      },
      {
        path        = "/etc/pointsman/compose.env"
        permissions = "0644"
        content     = join("", [for name, value in local.compose_settings : "${name}=${value}\n"])
      },
      {
        path        = "/etc/pointsman/compose.override.yaml"
        permissions = "0644"
        content     = yamlencode(local.compose_override)
      },
    ],
  )

  cloud_config = "#cloud-config\n${yamlencode({
    write_files = local.files
    runcmd = [
      ["systemctl", "daemon-reload"],
      ["systemctl", "enable", "--now", "--no-block", "pointsman.service"],
      ["systemctl", "enable", "--now", "pointsman-report.timer"],
      ["systemctl", "enable", "--now", "pointsman-back-up.timer"],
    ]
  })}"

  # Compressed, since EC2 takes 16 KiB: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html
  user_data = base64gzip(local.cloud_config)
}
