# ---- Which environment ----

variable "region" {
  description = "AWS region of the environment, for example ap-southeast-1."
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
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name)) && !startswith(var.name, "internal-")
    error_message = "name must be lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen; it must not start with internal-, which load balancers' names may not."
  }
}

variable "stage" {
  description = "Name of the environment, such as sandbox or production; part of every name, so that environments can exist side by side."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.stage))
    error_message = "stage must be lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen."
  }

  validation {
    condition     = length("${var.name}-${var.stage}-green") <= 32
    error_message = "name, stage and colour joined by hyphens must fit the 32 characters of a target group's name: shorten name or stage."
  }

  validation {
    condition     = length("${var.namespace}-${var.name}-${var.stage}-execution") <= 64
    error_message = "namespace, name, stage and the word execution joined by hyphens must fit the 64 characters of a role's name: shorten one of them."
  }
}

variable "tags" {
  description = "Tags of everything in this environment beside its own four (Namespace, Application, Stage, ManagedBy), for example a cost centre. Activate those that you want to see in the bill as cost allocation tags."
  type        = map(string)
  default     = {}
  nullable    = false

  # https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html#id_tags_naming_best_practices
  validation {
    condition     = alltrue([for key, value in var.tags : can(regex("^[A-Za-z0-9 _.:/=+@-]{1,128}$", key)) && can(regex("^[A-Za-z0-9 _.:/=+@-]{0,256}$", value)) && !startswith(lower(key), "aws:")])
    error_message = "tags must have keys of up to 128 and values of up to 256 letters, digits, spaces and _.:/=+@-, and no key may start with aws:, which is AWS's own."
  }

  validation {
    condition     = length(setintersection([for key in keys(var.tags) : lower(key)], ["namespace", "application", "stage", "managedby"])) == 0
    error_message = "tags must not name Namespace, Application, Stage or ManagedBy, which come from namespace, name, stage and the root itself."
  }

  validation {
    condition     = length(var.tags) <= 40
    error_message = "tags must be 40 at most: AWS takes 50 a resource, and some are this root's own."
  }
}

# ---- Network ----

variable "vpc_cidr" {
  description = "Address range of the VPC; each of its six subnets gets a sixteenth."
  type        = string
  default     = "10.0.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && can(regex("/(1[6-9]|2[0-3])$", var.vpc_cidr))
    error_message = "vpc_cidr must be an IPv4 range from /16 to /23, so that a load balancer's subnet has its /27 at least."
  }
}

variable "zone_letters" {
  description = "The two or three availability zones of the network, by the letter that follows the region's name: a load balancer needs two. Named rather than asked for, so that a zone that AWS adds or removes moves no subnet. Taking away the first moves the subnets of the others."
  type        = set(string)
  default     = ["a", "b", "c"]
  nullable    = false

  validation {
    condition     = contains([2, 3], length(var.zone_letters)) && alltrue([for letter in var.zone_letters : can(regex("^[a-z]$", letter))])
    error_message = "zone_letters must be two or three different letters, such as a, b and c: a load balancer needs two zones, and the address plan has room for three."
  }
}

variable "task_zone_letters" {
  description = "The zones of zone_letters that tasks run in; null means all of them. One is enough for staging: endpoints are paid by the zone, and so is what zones send each other. If that zone fails, so do the tasks."
  type        = set(string)
  default     = null

  validation {
    condition     = var.task_zone_letters == null || (length(coalesce(var.task_zone_letters, [])) > 0 && length(setsubtract(coalesce(var.task_zone_letters, []), var.zone_letters)) == 0)
    error_message = "task_zone_letters must be one or more of zone_letters, or null for all of them."
  }
}

variable "nat" {
  description = "How tasks reach what is outside: gateway (one NAT gateway, and if its zone fails nothing goes out), gateway-per-zone (one in each zone of the tasks, each with an address of its own), instance (one small machine instead, for a fraction of the price; while it restarts nothing goes out) or none (nothing goes out at all: AWS by vpc_endpoints, the database in this VPC). A change interrupts what goes out for some minutes; the first address stays the same unless it is none."
  type        = string
  default     = "gateway"
  nullable    = false

  validation {
    condition     = contains(["gateway", "gateway-per-zone", "instance", "none"], var.nat)
    error_message = "nat must be gateway, gateway-per-zone, instance or none."
  }

  validation {
    condition     = var.nat != "none" || (var.s3_endpoint && length(setsubtract(["ecr.api", "ecr.dkr", "logs", "secretsmanager"], var.vpc_endpoints)) == 0)
    error_message = "nat = none needs s3_endpoint, and vpc_endpoints with ecr.api, ecr.dkr, logs and secretsmanager: no task starts without a way to its image, its secrets and its log."
  }
}

variable "nat_instance_type" {
  description = "Machine of the NAT instance, one of AWS's own processors (Graviton), such as t4g.nano. The smallest has a tenth of the network of a gateway."
  type        = string
  default     = "t4g.nano"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]+[0-9]+g[a-z]*\\.[a-z0-9]+$", var.nat_instance_type))
    error_message = "nat_instance_type must be a type with a Graviton processor, such as t4g.nano or c7gn.medium: its image is for arm64."
  }
}

variable "nat_instance_generation" {
  description = "Raise it to replace the NAT instance by one of the newest Amazon Linux, every month or so: an image is never patched in place. Nothing goes out for a minute or two."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.nat_instance_generation >= 1 && floor(var.nat_instance_generation) == var.nat_instance_generation
    error_message = "nat_instance_generation must be a whole number from 1: raise it by one."
  }
}

variable "s3_endpoint" {
  description = "Lead what goes to S3 in the region past the NAT, by a gateway endpoint, which costs nothing: images and their layers come from there. Such requests come from private addresses, so a bucket that admits the NAT's address must admit the VPC instead. Making it drops connections to S3 that are open."
  type        = bool
  default     = true
  nullable    = false
}

variable "vpc_endpoints" {
  description = "Services of AWS that tasks reach by an interface endpoint instead of the NAT, such as ecr.api, ecr.dkr, logs and secretsmanager. Each is paid by the hour in each zone of the tasks; they pay off with nat = none, or with more than some 100 GB a month."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for service in var.vpc_endpoints : can(regex("^[a-z0-9-]+([.][a-z0-9-]+)*$", service)) && service != "s3"])
    error_message = "vpc_endpoints must be services as their endpoints are named after com.amazonaws.<region>., such as ecr.api; for S3 there is s3_endpoint."
  }
}

variable "flow_logs" {
  description = "Log who spoke with whom in the VPC, by address and port, to a CloudWatch log group: what one looks at after an incident. Billed by GB."
  type        = bool
  default     = true
  nullable    = false
}

variable "flow_log_retention_days" {
  description = "Days that flow logs are kept."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.flow_log_retention_days)
    error_message = "flow_log_retention_days must be a number of days that CloudWatch Logs offers, such as 7, 14 or 30."
  }
}

# ---- Traffic ----

variable "internal" {
  description = "Make the load balancer internal, in the private subnets. An existing one is replaced, which its deletion protection refuses."
  type        = bool
  default     = false
  nullable    = false
}

variable "production_cidrs" {
  description = "IPv4 ranges that may reach the production listeners; if empty the internet, or the VPC's own range where internal is set."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for range in var.production_cidrs : can(cidrnetmask(range))])
    error_message = "production_cidrs must be IPv4 ranges in CIDR notation."
  }

  validation {
    condition     = !var.internal || alltrue([for range in var.production_cidrs : try(tonumber(split("/", range)[1]) >= 8, false)])
    error_message = "production_cidrs must be ranges of /8 or smaller where internal is set: an internal load balancer is not open to the internet."
  }
}

variable "production_listener_port" {
  description = "Port of the public HTTP listener, which forwards, or redirects once http_redirect is set."
  type        = number
  default     = 80
  nullable    = false

  validation {
    condition     = var.production_listener_port >= 1 && var.production_listener_port <= 65535 && var.production_listener_port != 443
    error_message = "production_listener_port must be from 1 to 65535 and not 443, which is the HTTPS listener's."
  }
}

variable "test_listener_ports" {
  description = "Port of each colour's test listener, through which a version is tested before it gets traffic."
  type        = object({ blue = number, green = number })
  default     = { blue = 8081, green = 8082 }
  nullable    = false

  validation {
    condition     = alltrue([for port in values(var.test_listener_ports) : port >= 1 && port <= 65535])
    error_message = "test_listener_ports must be from 1 to 65535."
  }

  validation {
    condition     = length(distinct(concat(values(var.test_listener_ports), [var.production_listener_port, 443]))) == 4
    error_message = "test_listener_ports must differ from each other, from production_listener_port and from 443."
  }
}

variable "test_listener_cidrs" {
  description = "IPv4 ranges that may reach the test listeners: the worker's and the operators' addresses."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.test_listener_cidrs) > 0 && alltrue([for range in var.test_listener_cidrs : can(cidrnetmask(range))])
    error_message = "test_listener_cidrs must name at least one range, each in IPv4 CIDR notation: without one no release can be tested."
  }

  validation {
    condition     = alltrue([for range in var.test_listener_cidrs : try(tonumber(split("/", range)[1]) >= 8, false)])
    error_message = "test_listener_cidrs must be ranges of /8 or smaller, not a share of the internet: untested versions answer there."
  }
}

variable "listener_weights" {
  description = "Weights with which a production listener starts when it is created or replaced: those of the release record's live colour. Afterwards releases move them and Terraform ignores them."
  type        = object({ blue = number, green = number })
  nullable    = false

  validation {
    condition     = alltrue([for weight in values(var.listener_weights) : weight >= 0 && weight <= 999 && floor(weight) == weight])
    error_message = "listener_weights must be whole numbers from 0 to 999."
  }

  validation {
    condition     = sum(values(var.listener_weights)) > 0
    error_message = "listener_weights must not both be 0: nobody would answer."
  }
}

variable "pipeline_role_name" {
  description = "Role of this stage's releases, which account makes: it is bound to this environment's subnets and weighted listeners. Null binds nothing."
  type        = string
  default     = null

  validation {
    condition     = var.pipeline_role_name == null || can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.pipeline_role_name))
    error_message = "pipeline_role_name must be the name of a role, not its ARN, or null."
  }
}

variable "reconciler_role_name" {
  description = "Role of this stage's cleaning up, which account makes: it is bound like the pipeline's. Null binds nothing."
  type        = string
  default     = null

  validation {
    condition     = var.reconciler_role_name == null || can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", var.reconciler_role_name))
    error_message = "reconciler_role_name must be the name of a role, not its ARN, or null."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds the roles made here, which account makes; null leaves them without."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[^*]+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a managed policy, or null."
  }
}

variable "certificate_arn" {
  description = "ACM certificate of the HTTPS listener; null serves HTTP only. Going to HTTPS takes two applies: first this alone, then http_redirect."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate, or null."
  }
}

variable "http_redirect" {
  description = "Replace the HTTP listener that forwards by one that redirects to HTTPS. Only once an apply with certificate_arn has made the HTTPS listener and it answers: doing both at once leaves a gap in which nobody does."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.http_redirect || var.certificate_arn != null
    error_message = "http_redirect needs certificate_arn: there must be an HTTPS listener to redirect to."
  }
}

variable "preserve_host_header" {
  description = "Hand the Host header on as it came. Otherwise the load balancer adds the port of a listener that is not on 80 or 443, such as a test listener: an application that answers to its exact name alone refuses that."
  type        = bool
  default     = false
  nullable    = false
}

variable "health_check_path" {
  description = "Path of the health check that new target groups start with; afterwards each release sets its own. It must be shallow: one that asks the database lets a blip of it stop every task."
  type        = string
  default     = "/healthz"
  nullable    = false

  validation {
    condition     = can(regex("^/[^[:space:]]*$", var.health_check_path))
    error_message = "health_check_path must start with a slash and have no spaces."
  }
}

variable "health_check_matcher" {
  description = "Statuses that new target groups take for healthy, such as 200, 200,204 or 200-399; afterwards each release sets its own."
  type        = string
  default     = "200"
  nullable    = false

  validation {
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Matcher.html
    condition     = can(regex("^[2-4][0-9]{2}(-[2-4][0-9]{2})?(,[2-4][0-9]{2}(-[2-4][0-9]{2})?)*$", var.health_check_matcher))
    error_message = "health_check_matcher must hold statuses from 200 to 499, or ranges of them, separated by commas."
  }
}

variable "health_check" {
  description = "Health checks of the target groups: interval and timeout in seconds, thresholds in consecutive checks."
  type = object({
    interval            = optional(number, 15)
    timeout             = optional(number, 5)
    healthy_threshold   = optional(number, 2)
    unhealthy_threshold = optional(number, 3)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.health_check.interval >= 5 && var.health_check.interval <= 300
    error_message = "health_check.interval must be from 5 to 300 seconds."
  }

  validation {
    condition     = var.health_check.timeout >= 2 && var.health_check.timeout <= 120 && var.health_check.timeout < var.health_check.interval
    error_message = "health_check.timeout must be from 2 to 120 seconds and shorter than the interval."
  }

  validation {
    condition     = alltrue([for threshold in [var.health_check.healthy_threshold, var.health_check.unhealthy_threshold] : threshold >= 2 && threshold <= 10])
    error_message = "health_check.healthy_threshold and unhealthy_threshold must be from 2 to 10."
  }
}

variable "deregistration_delay_seconds" {
  description = "How long the load balancer lets open requests finish on a task that is stopped."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.deregistration_delay_seconds >= 0 && var.deregistration_delay_seconds <= 3600
    error_message = "deregistration_delay_seconds must be from 0 to 3600."
  }
}

variable "access_logs" {
  description = "Keep a line for each request in a private bucket of this environment. Switched off, or destroyed with the environment, the bucket goes with all that is in it: copy what you need first."
  type        = bool
  default     = true
  nullable    = false
}

variable "access_log_days" {
  description = "Days that access logs are kept; they hold addresses of people, so as short as you can."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.access_log_days >= 1 && var.access_log_days <= 3653 && floor(var.access_log_days) == var.access_log_days
    error_message = "access_log_days must be a whole number of days from 1 to 3653."
  }
}

variable "deletion_protection" {
  description = "Refuse the deletion of the load balancer, by Terraform too."
  type        = bool
  default     = true
  nullable    = false
}

# ---- Tasks ----

variable "secret_names" {
  description = "Names of the Secrets Manager secrets that the tasks may read. They exist before this root is applied; their values are never read here."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for secret in var.secret_names : can(regex("^[A-Za-z0-9/_+=.@!-]{1,512}$", secret))])
    error_message = "secret_names must be names of Secrets Manager secrets, not ARNs and not values."
  }
}

variable "secret_arns" {
  description = "ARNs of secrets that the tasks may read beside those of secret_names: another account's, whose resource policy and key must allow the execution role too."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_arns : can(regex("^arn:[a-z-]+:secretsmanager:${var.region}:[0-9]{12}:secret:[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6}$", arn))])
    error_message = "secret_arns must be whole ARNs of secrets in this region, with the six characters at the end that AWS adds."
  }
}

variable "parameter_names" {
  description = "Names, or ARNs, of parameters of SSM that the tasks may read. Their values are never read here."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.parameter_names : can(regex("^(arn:[a-z-]+:ssm:${var.region}:[0-9]{12}:parameter/[A-Za-z0-9_./-]+|/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)$", name))])
    error_message = "parameter_names must be names of SSM parameters, such as /shop/production/url, or ARNs of some in this region."
  }

  validation {
    condition     = var.nat != "none" || length(var.parameter_names) == 0 || contains(var.vpc_endpoints, "ssm")
    error_message = "parameter_names with nat = none need ssm in vpc_endpoints: no task starts without a way to its parameters."
  }
}

variable "task_policy_arns" {
  description = "ARNs of managed policies that the application's role has. The boundary of the roles must allow what they do."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.task_policy_arns) <= 10 && alltrue([for arn in var.task_policy_arns : can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[^[:space:]]+$", arn))])
    error_message = "task_policy_arns must be ARNs of at most ten managed policies."
  }
}

variable "sidecar_repositories" {
  description = "Repositories of the images that run beside the application's, as an image's name has them without tag and digest. The execution role may pull from those that are in ECR."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.sidecar_repositories : can(regex("^[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*$", address))])
    error_message = "sidecar_repositories must be repositories without tag and digest, such as public.ecr.aws/x/proxy."
  }
}

variable "secret_key_arns" {
  description = "ARNs of KMS keys, other than AWS's own, that the secrets and parameters of tasks are encrypted with. The execution role may decrypt with them, for Secrets Manager and SSM alone."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_key_arns : can(regex("^arn:[a-z-]+:kms:${var.region}:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "secret_key_arns must be ARNs of KMS keys in this region; an alias names no key that a policy can hold."
  }
}

variable "container_insights" {
  description = "CloudWatch Container Insights of the cluster, billed by metric: enabled (cluster, service and task family), enhanced (each task and container too, for more) or disabled."
  type        = string
  default     = "enabled"
  nullable    = false

  validation {
    condition     = contains(["enabled", "enhanced", "disabled"], var.container_insights)
    error_message = "container_insights must be enabled, enhanced or disabled."
  }
}

variable "log_retention_days" {
  description = "Days that the tasks' log lines are kept."
  type        = number
  default     = 365
  nullable    = false

  # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html, without "for ever"
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number of days that CloudWatch Logs offers, such as 30, 90 or 365."
  }
}

# ---- Alarms ----

variable "alarm_target_5xx_count" {
  description = "Answers with a 5xx status from one colour's tasks within a minute that raise its alarm."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.alarm_target_5xx_count >= 1
    error_message = "alarm_target_5xx_count must be at least 1."
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

variable "build_secret_names" {
  description = "Names of the Secrets Manager secrets that the pipeline's role may read to give them to builds. They exist before this root is applied; their values are never read here."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for secret in var.build_secret_names : can(regex("^[A-Za-z0-9/_+=.@!-]{1,512}$", secret))])
    error_message = "build_secret_names must be names of Secrets Manager secrets, not ARNs and not values."
  }
}

variable "base_image_repositories" {
  description = "Names of this account's ECR repositories that builds may pull base images from."
  type        = set(string)
  default     = []
  nullable    = false

  # https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
  validation {
    condition     = alltrue([for repository in var.base_image_repositories : can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", repository)) && length(repository) <= 256])
    error_message = "base_image_repositories must be names of ECR repositories, such as team/base: without registry and tag."
  }
}
