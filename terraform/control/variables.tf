# ---- Which machine ----

variable "region" {
  description = "AWS region of the machine, for example ap-southeast-1."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be an AWS region's name, such as ap-southeast-1."
  }
}

variable "aws_account_number" {
  description = "The 12 digits of the only account that this root may touch."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.aws_account_number))
    error_message = "aws_account_number must have exactly 12 digits."
  }
}

variable "namespace" {
  description = "Owner of the application; first part of every shared name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.namespace))
    error_message = "namespace must be lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen."
  }
}

variable "name" {
  description = "Name of the application."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name))
    error_message = "name must be lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen."
  }
}

variable "stage" {
  description = "Environment that this machine releases into; one machine serves one."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.stage))
    error_message = "stage must be lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen."
  }

  validation {
    condition     = length("${var.namespace}-${var.name}-${var.stage}-control-snapshots") <= 64
    error_message = "namespace, name, stage and control-snapshots joined by hyphens must fit the 64 characters of a role's name: shorten one of them."
  }
}

# ---- The role ----

variable "role_name" {
  description = "Name of the machine's role, which [provision.account] pipeline_principal_arns names by ARN. A second machine in the account needs another."
  type        = string
  default     = "release-worker"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.role_name))
    error_message = "role_name must be the name of a role, not its ARN."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds the two roles made here, where the account asks for one; null bounds nothing. It must allow sts:AssumeRole, which the boundary of the roles that release does not."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[^*]+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy, or null."
  }
}

# ---- Who comes in ----

variable "host_name" {
  description = "DNS name under which GitHub and operators reach the machine, such as release.example.com."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.host_name))
    error_message = "host_name must be a full DNS name in lower case, such as release.example.com, with no scheme and no path."
  }
}

variable "zone_id" {
  description = "Route 53 zone in which host_name is made; null leaves the record to you."
  type        = string
  default     = null

  validation {
    condition     = var.zone_id == null || can(regex("^Z[A-Z0-9]+$", var.zone_id))
    error_message = "zone_id must be the id of a hosted zone, such as Z0123456789ABCDEFGHIJ, or null."
  }
}

variable "acme_email" {
  description = "E-mail address for Let's Encrypt, which then makes the certificate and opens port 443 to every address, since it asks from any; the proxy alone keeps others from the UI then. Null keeps the port closed to all but the named ranges, and takes the certificate from the machine's secret."
  type        = string
  default     = null

  validation {
    condition     = var.acme_email == null || can(regex("^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\\.[A-Za-z]{2,}$", var.acme_email))
    error_message = "acme_email must be an e-mail address, or null."
  }
}

variable "operator_cidrs" {
  description = "IPv4 ranges from which operators reach Prefect's UI and API, on the webhook's port and behind a password."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for range in var.operator_cidrs : can(cidrnetmask(range))])
    error_message = "operator_cidrs must be IPv4 ranges in CIDR notation. Empty, Session Manager's port forwarding is the only way to the UI."
  }

  validation {
    condition     = alltrue([for range in var.operator_cidrs : try(tonumber(split("/", range)[1]) >= 16, false)])
    error_message = "operator_cidrs must be ranges of /16 or smaller: who reaches the UI and has its password can run anything here."
  }
}

variable "webhook_cidrs" {
  description = "IPv4 ranges that GitHub sends webhooks from: `hooks` in https://api.github.com/meta."
  type        = set(string)
  default     = ["140.82.112.0/20", "143.55.64.0/20", "185.199.108.0/22", "192.30.252.0/22"]
  nullable    = false

  validation {
    condition     = length(var.webhook_cidrs) > 0 && alltrue([for range in var.webhook_cidrs : can(cidrnetmask(range)) && try(tonumber(split("/", range)[1]) >= 16, false)])
    error_message = "webhook_cidrs must name at least one IPv4 range, each of /16 or smaller."
  }
}

# ---- Network ----

variable "subnet_id" {
  description = "Public subnet to put the machine into, one that routes to an internet gateway; null makes a network of its own."
  type        = string
  default     = null

  validation {
    condition     = var.subnet_id == null || can(regex("^subnet-[0-9a-f]+$", var.subnet_id))
    error_message = "subnet_id must be the id of a subnet, or null."
  }
}

variable "vpc_cidr" {
  description = "Address range of the machine's own network."
  type        = string
  default     = "10.255.0.0/24"
  nullable    = false

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && can(regex("/(1[6-9]|2[0-8])$", var.vpc_cidr))
    error_message = "vpc_cidr must be an IPv4 range from /16 to /28."
  }
}

variable "zone_letter" {
  description = "Availability zone of the machine's own network, by the letter that follows the region's name. The data volume can't follow to another."
  type        = string
  default     = "a"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]$", var.zone_letter))
    error_message = "zone_letter must be one letter, such as a."
  }
}

variable "egress_ports" {
  description = "TCP ports on which the machine may call out: package mirrors and load balancers on 80, AWS, GitHub and registries on 443, the environments' test listeners. Add 5432 if Prefect's database is elsewhere."
  type        = set(number)
  default     = [80, 443, 8081, 8082]
  nullable    = false

  validation {
    condition     = contains(var.egress_ports, 443) && alltrue([for port in var.egress_ports : port >= 1 && port <= 65535 && floor(port) == port])
    error_message = "egress_ports must be whole numbers from 1 to 65535, 443 among them."
  }
}

# ---- The machine ----

variable "architecture" {
  description = "amd64 or arm64. Images are built for image.platform; a machine of another architecture needs an emulator, or leaves builds to another engine ([docker] host)."
  type        = string
  default     = "amd64"
  nullable    = false

  validation {
    condition     = contains(["amd64", "arm64"], var.architecture)
    error_message = "architecture must be amd64 or arm64."
  }
}

variable "instance_type" {
  description = "Type of the instance, one of the Nitro system, with 8 GiB of memory at least: Pointsman's parts may take 6.3 GiB at most, and builds come on top."
  type        = string
  default     = "t3.large"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", var.instance_type))
    error_message = "instance_type must be an EC2 instance type, such as t3.large."
  }

  # Older ones name their volumes otherwise: https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-nitro-instances.html
  validation {
    condition     = !can(regex("^([tm][12]|m[34]|c[134]|r[34]|i2|d2)\\.", var.instance_type))
    error_message = "instance_type must be one of the Nitro system, such as t3.large."
  }

  # A g after the generation's number: t4g, m7g, c7gn. https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
  validation {
    condition     = can(regex("^[a-z]+[0-9]+[a-z]*g[a-z]*\\.", var.instance_type)) == (var.architecture == "arm64")
    error_message = "instance_type must be of the given architecture: t4g, m7g and the like are arm64, t3 and m7i are amd64."
  }
}

variable "data_volume_gib" {
  description = "Size of the volume that outlives the machine, in GiB. It can grow, never shrink."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.data_volume_gib >= 40 && var.data_volume_gib <= 16384 && floor(var.data_volume_gib) == var.data_volume_gib
    error_message = "data_volume_gib must be a whole number from 40 to 16384: images and build cache alone take 20."
  }
}

variable "data_snapshot_id" {
  description = "Snapshot from which the data volume is made, to restore one; null makes an empty volume."
  type        = string
  default     = null

  validation {
    condition     = var.data_snapshot_id == null || can(regex("^snap-[0-9a-f]+$", var.data_snapshot_id))
    error_message = "data_snapshot_id must be the id of a snapshot, or null."
  }
}

# ---- Pointsman ----

variable "pointsman_repository" {
  description = "Git repository of Pointsman with your environments/<stage>.toml: a fork or a mirror of yours, over https and with no password in it."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[A-Za-z0-9.-]+(:[0-9]+)?/[A-Za-z0-9._/-]+$", var.pointsman_repository))
    error_message = "pointsman_repository must be an https:// address without a user, a password or a query; a token is the key repository-token of the machine's secret."
  }
}

variable "pointsman_ref" {
  description = "Tag or commit of that repository with which a new machine starts; later ones come by `scripts/machine upgrade`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._/-]*$", var.pointsman_ref))
    error_message = "pointsman_ref must be a tag or a commit."
  }
}

# ---- Backups, logs, alarms ----

variable "snapshot_days" {
  description = "Daily snapshots of the data volume that are kept."
  type        = number
  default     = 14
  nullable    = false

  # https://docs.aws.amazon.com/dlm/latest/APIReference/API_RetainRule.html
  validation {
    condition     = var.snapshot_days >= 1 && var.snapshot_days <= 1000 && floor(var.snapshot_days) == var.snapshot_days
    error_message = "snapshot_days must be a whole number from 1 to 1000."
  }
}

variable "snapshot_time" {
  description = "Time of the daily snapshot, UTC; within the hour after it."
  type        = string
  default     = "20:00"
  nullable    = false

  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", var.snapshot_time))
    error_message = "snapshot_time must be hours and minutes of UTC, such as 20:00."
  }
}

variable "backup_bucket" {
  description = "S3 bucket for nightly dumps of Prefect's database, below control/<stage>/; the state bucket will do. Null keeps them on the data volume alone."
  type        = string
  default     = null

  validation {
    condition     = var.backup_bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.backup_bucket))
    error_message = "backup_bucket must be the name of an S3 bucket, or null."
  }
}

variable "log_retention_days" {
  description = "Days that the containers' log lines are kept."
  type        = number
  default     = 365
  nullable    = false

  # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html, without "for ever"
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number of days that CloudWatch Logs offers, such as 30, 90 or 365."
  }
}

variable "alarm_action_arns" {
  description = "What the alarms notify, for example an SNS topic."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for action in var.alarm_action_arns : startswith(action, "arn:")])
    error_message = "alarm_action_arns must be ARNs."
  }
}
