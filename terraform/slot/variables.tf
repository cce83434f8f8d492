# ---- Whose slot this is ----

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
  description = "Name of the application; also the name of the container in both task definitions."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name))
    error_message = "name must be lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen."
  }
}

variable "stage" {
  description = "Environment that the slot belongs to, such as sandbox or production."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.stage))
    error_message = "stage must be lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen."
  }
}

variable "colour" {
  description = "Which of the environment's two slots this is: blue or green."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["blue", "green"], var.colour)
    error_message = "colour must be blue or green."
  }
}

# ---- What is released ----

variable "image" {
  description = "Image to run, by digest: repository@sha256:… (a tag alone may come to mean another image)."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[^@[:space:]]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be given by digest, as repository@sha256:<64 hexadecimal digits>."
  }
}

variable "release_version" {
  description = "The released tag: SemVer 2.0 with a leading v. The container gets it as POINTSMAN_VERSION."
  type        = string
  nullable    = false

  # The expression that semver.org suggests, with the leading v.
  validation {
    condition = can(regex(
      "^v(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)(-((0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?(\\+([0-9a-zA-Z-]+(\\.[0-9a-zA-Z-]+)*))?$",
      var.release_version
    ))
    error_message = "release_version must be a SemVer 2.0 version with a leading v, such as v1.4.0."
  }
}

variable "release_revision" {
  description = "Short mark of this release's configuration, answered by /version beside the version. The container gets it as POINTSMAN_REVISION."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$", var.release_revision))
    error_message = "release_revision must be 1 to 64 letters, digits, dots, underscores or hyphens, starting with a letter or digit."
  }
}

variable "environment_variables" {
  description = "Plain variables of the containers. Nothing secret: they are readable in state and plan."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.environment_variables) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", key))])
    error_message = "Each name in environment_variables must be letters, digits and underscores, not starting with a digit."
  }

  validation {
    condition     = alltrue([for key in keys(var.environment_variables) : !startswith(key, "POINTSMAN_")])
    error_message = "Names in environment_variables must not start with POINTSMAN_: those are set here."
  }
}

variable "secrets" {
  description = "Secret variables of the containers: name to valueFrom, a Secrets Manager ARN with an optional JSON key (…:secret:name-suffix:KEY::) or the ARN of a parameter of SSM. Only the address is stored, never the value."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for source in values(var.secrets) : can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+(:[^:]*:[^:]*:[^:]*)?|ssm:[a-z0-9-]+:[0-9]{12}:parameter/[A-Za-z0-9_./-]+)$", source))])
    error_message = "Each value in secrets must be a Secrets Manager ARN, optionally followed by :JSON-key:version-stage:version-id, or the ARN of a parameter of SSM. A secret's value never goes here."
  }

  validation {
    condition     = alltrue([for key in keys(var.secrets) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", key)) && !startswith(key, "POINTSMAN_")])
    error_message = "Each name in secrets must be letters, digits and underscores, not starting with a digit nor with POINTSMAN_."
  }

  validation {
    condition     = length(setintersection(keys(var.secrets), keys(var.environment_variables))) == 0
    error_message = "A name must not be in both secrets and environment_variables."
  }
}

# ---- The migration's task definition ----

variable "migration_command" {
  description = "Command of the migration's one-off task, word by word, for example [\"npx\", \"prisma\", \"migrate\", \"deploy\"]."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.migration_command) > 0 && alltrue([for word in var.migration_command : length(word) > 0])
    error_message = "migration_command must have at least one word and no empty one: without it the migration task would start the service."
  }
}

variable "migration_entry_point" {
  description = "Entry point of the migration's one-off task; empty keeps the image's own."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "migration_secrets" {
  description = "Secret variables of the migration's task when it has a database user of its own; null takes the service's."
  type        = map(string)
  default     = null

  validation {
    condition     = alltrue([for source in values(coalesce(var.migration_secrets, {})) : can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+(:[^:]*:[^:]*:[^:]*)?|ssm:[a-z0-9-]+:[0-9]{12}:parameter/[A-Za-z0-9_./-]+)$", source))])
    error_message = "Each value in migration_secrets must be a Secrets Manager ARN, optionally followed by :JSON-key:version-stage:version-id, or the ARN of a parameter of SSM. A secret's value never goes here."
  }

  validation {
    condition     = alltrue([for key in keys(coalesce(var.migration_secrets, {})) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", key)) && !startswith(key, "POINTSMAN_")])
    error_message = "Each name in migration_secrets must be letters, digits and underscores, not starting with a digit nor with POINTSMAN_."
  }

  validation {
    condition     = length(setintersection(keys(coalesce(var.migration_secrets, {})), keys(var.environment_variables))) == 0
    error_message = "A name must not be in both migration_secrets and environment_variables."
  }
}

# ---- The slot's shape: changes through provision only ----

variable "container_port" {
  description = "Port that the container listens on."
  type        = number
  default     = 8080
  nullable    = false

  validation {
    condition     = var.container_port >= 1 && var.container_port <= 65535 && floor(var.container_port) == var.container_port
    error_message = "container_port must be a whole number from 1 to 65535."
  }
}

variable "cpu" {
  description = "CPU units of a task; 1024 are one vCPU."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.cpu)
    error_message = "cpu must be a size that Fargate offers: 256, 512, 1024, 2048, 4096, 8192 or 16384."
  }
}

variable "memory" {
  description = "Memory of a task in MiB."
  type        = number
  default     = 512
  nullable    = false

  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
  validation {
    condition = contains(lookup({
      "256"   = [512, 1024, 2048]
      "512"   = range(1024, 4097, 1024)
      "1024"  = range(2048, 8193, 1024)
      "2048"  = range(4096, 16385, 1024)
      "4096"  = range(8192, 30721, 1024)
      "8192"  = range(16384, 61441, 4096)
      "16384" = range(32768, 122881, 8192)
    }, tostring(var.cpu), [var.memory]), var.memory)
    error_message = "memory must be a size that Fargate offers for this cpu (256 units go with 512, 1024 or 2048 MiB)."
  }
}

variable "cpu_architecture" {
  description = "The CPU architecture of the tasks, for which the image must be built: X86_64 or ARM64."
  type        = string
  default     = "X86_64"
  nullable    = false

  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html
  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture must be X86_64 or ARM64."
  }
}

variable "health_check_grace_period_seconds" {
  description = "How long after its start a task's failing health checks are ignored."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.health_check_grace_period_seconds >= 0 && var.health_check_grace_period_seconds <= 3600
    error_message = "health_check_grace_period_seconds must be from 0 to 3600."
  }
}

variable "cluster_arn" {
  description = "ECS cluster of the environment."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:ecs:[a-z0-9-]+:[0-9]{12}:cluster/.+$", var.cluster_arn))
    error_message = "cluster_arn must be the ARN of an ECS cluster."
  }
}

variable "subnet_ids" {
  description = "Private subnets that the tasks run in."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) > 0 && alltrue([for id in var.subnet_ids : can(regex("^subnet-[0-9a-z]+$", id))])
    error_message = "subnet_ids must name at least one subnet, each as subnet-…."
  }
}

variable "security_group_id" {
  description = "Security group of the tasks."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^sg-[0-9a-z]+$", var.security_group_id))
    error_message = "security_group_id must be the id of a security group, sg-…."
  }
}

variable "target_group_arn" {
  description = "Target group of this colour."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/${var.name}-${var.stage}-${var.colour}/.+$", var.target_group_arn))
    error_message = "target_group_arn must be the ARN of this colour's own target group, named after name, stage and colour: a slot must not register its tasks with the other's."
  }
}

variable "execution_role_arn" {
  description = "Role with which ECS pulls the image, reads the secrets and writes logs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", var.execution_role_arn))
    error_message = "execution_role_arn must be the ARN of an IAM role."
  }
}

variable "task_role_arn" {
  description = "Role that the application itself has."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", var.task_role_arn))
    error_message = "task_role_arn must be the ARN of an IAM role."
  }
}

variable "log_group_name" {
  description = "CloudWatch log group of the environment."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_/.#-]{1,512}$", var.log_group_name))
    error_message = "log_group_name must be the name of a CloudWatch log group."
  }
}

variable "tags" {
  description = "Tags of the task definitions, and so of the tasks, beside the root's own four: those of the environment."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setintersection([for key in keys(var.tags) : lower(key)], ["namespace", "application", "stage", "managedby"])) == 0
    error_message = "tags must not name Namespace, Application, Stage or ManagedBy, which come from namespace, name, stage and the root itself."
  }
}
