# ---- How the application's container is run: part of a release, and kept in its record ----

variable "container" {
  description = "How the application's container is run. What is left out is as the image says. The migration's container has the same user."
  type = object({
    command      = optional(list(string), [])
    entry_point  = optional(list(string), [])
    user         = optional(string)
    stop_timeout = optional(number)
    init_process = optional(bool, false)
    ulimits      = optional(map(object({ soft = number, hard = number })), {})
    extra_ports  = optional(list(number), [])
    depends_on   = optional(map(string), {})
    mounts       = optional(map(object({ path = string, read_only = optional(bool, false) })), {})
    health_check = optional(object({
      command      = list(string)
      interval     = optional(number, 30)
      timeout      = optional(number, 5)
      retries      = optional(number, 3)
      start_period = optional(number, 0)
    }))
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for word in concat(var.container.command, var.container.entry_point) : length(word) > 0])
    error_message = "command and entry_point of container must have no empty word."
  }

  validation {
    condition     = var.container.user == null || can(regex("^[^[:space:]:]+(:[^[:space:]:]+)?$", var.container.user))
    error_message = "container.user must be a name or number, with :group where needed."
  }

  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html
  validation {
    condition     = var.container.stop_timeout == null ? true : var.container.stop_timeout >= 2 && var.container.stop_timeout <= 120 && floor(var.container.stop_timeout) == var.container.stop_timeout
    error_message = "container.stop_timeout must be a whole number of seconds from 2 to 120."
  }

  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Ulimit.html
  validation {
    condition     = alltrue([for name, limit in var.container.ulimits : name == "nofile" && limit.soft >= 1 && limit.soft <= limit.hard && limit.hard <= 1048576])
    error_message = "container.ulimits can set nofile alone on Fargate, with a soft limit up to the hard one, and that up to 1048576."
  }

  validation {
    condition     = alltrue([for port in var.container.extra_ports : port >= 1 && port <= 65535 && floor(port) == port]) && length(distinct(concat([var.container_port], var.container.extra_ports))) == length(var.container.extra_ports) + 1
    error_message = "container.extra_ports must be whole numbers from 1 to 65535, each once and none the container_port."
  }

  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html
  validation {
    condition = var.container.health_check == null ? true : (
      length(var.container.health_check.command) >= 2
      && contains(["CMD", "CMD-SHELL"], var.container.health_check.command[0])
      && (var.container.health_check.command[0] == "CMD" || length(var.container.health_check.command) == 2)
    )
    error_message = "container.health_check.command must be CMD with a program and its arguments, or CMD-SHELL with one line."
  }

  validation {
    condition = var.container.health_check == null ? true : (
      var.container.health_check.interval >= 5 && var.container.health_check.interval <= 300
      && var.container.health_check.timeout >= 2 && var.container.health_check.timeout <= 60
      && var.container.health_check.retries >= 1 && var.container.health_check.retries <= 10
      && var.container.health_check.start_period >= 0 && var.container.health_check.start_period <= 300
    )
    error_message = "container.health_check must have an interval from 5 to 300 s, a timeout from 2 to 60 s, 1 to 10 retries and a start_period up to 300 s."
  }
}

variable "ephemeral_storage" {
  description = "Disk of a task in GiB, which is gone with it; null for Fargate's own 20."
  type        = number
  default     = null

  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_EphemeralStorage.html
  validation {
    condition     = var.ephemeral_storage == null ? true : var.ephemeral_storage >= 21 && var.ephemeral_storage <= 200 && floor(var.ephemeral_storage) == var.ephemeral_storage
    error_message = "ephemeral_storage must be a whole number from 21 to 200."
  }
}

variable "sidecars" {
  description = "Containers beside the application's, each by its image's digest and run as container says of the application's. They are part of a release too."
  type = list(object({
    name         = string
    image        = string
    essential    = optional(bool, true)
    variables    = optional(map(string), {})
    secrets      = optional(map(string), {})
    command      = optional(list(string), [])
    entry_point  = optional(list(string), [])
    user         = optional(string)
    stop_timeout = optional(number)
    init_process = optional(bool, false)
    ulimits      = optional(map(object({ soft = number, hard = number })), {})
    extra_ports  = optional(list(number), [])
    depends_on   = optional(map(string), {})
    mounts       = optional(map(object({ path = string, read_only = optional(bool, false) })), {})
    health_check = optional(object({
      command      = list(string)
      interval     = optional(number, 30)
      timeout      = optional(number, 5)
      retries      = optional(number, 3)
      start_period = optional(number, 0)
    }))
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for sidecar in var.sidecars : can(regex("^[^@[:space:]]+@sha256:[0-9a-f]{64}$", sidecar.image))])
    error_message = "Each image in sidecars must be given by digest, as repository@sha256:<64 hexadecimal digits>."
  }

  validation {
    condition     = length(distinct(concat([var.name], var.sidecars[*].name))) == length(var.sidecars) + 1
    error_message = "Each name in sidecars must be given once, and be another than the application's."
  }

  validation {
    condition     = length(distinct(flatten([var.container_port, var.container.extra_ports, var.sidecars[*].extra_ports]))) == length(flatten([var.container_port, var.container.extra_ports, var.sidecars[*].extra_ports]))
    error_message = "Containers of a task share its network: no two of them may listen on one port."
  }

  # https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDependency.html
  validation {
    condition = alltrue(flatten([for container in concat([var.container.depends_on], var.sidecars[*].depends_on) : [for other, condition in container :
      contains(concat([var.name], var.sidecars[*].name), other) && contains(["START", "COMPLETE", "SUCCESS", "HEALTHY"], condition)
    ]]))
    error_message = "depends_on must name containers of the task, each with START, COMPLETE, SUCCESS or HEALTHY."
  }

  validation {
    condition     = alltrue([for source in flatten([for sidecar in var.sidecars : values(sidecar.secrets)]) : can(regex("^arn:[a-z-]+:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+(:[^:]*:[^:]*:[^:]*)?|ssm:[a-z0-9-]+:[0-9]{12}:parameter/[A-Za-z0-9_./-]+)$", source))])
    error_message = "Each value in the secrets of sidecars must be the ARN of a secret or of a parameter. A secret's value never goes here."
  }

  validation {
    condition     = alltrue([for sidecar in var.sidecars : sidecar.stop_timeout == null ? true : sidecar.stop_timeout >= 2 && sidecar.stop_timeout <= 120])
    error_message = "stop_timeout of sidecars must be from 2 to 120 seconds."
  }
}

variable "volumes" {
  description = "File systems of EFS that the tasks mount, by the names that the containers' mounts say. Traffic to them is always encrypted."
  type = map(object({
    file_system    = string
    root_directory = optional(string, "/")
    access_point   = optional(string)
    iam            = optional(bool, false)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for volume in values(var.volumes) : can(regex("^fs-[0-9a-f]{8,40}$", volume.file_system)) && (volume.access_point == null || can(regex("^fsap-[0-9a-f]{8,40}$", volume.access_point)))])
    error_message = "Each file_system in volumes must be the id of an EFS file system, fs-…, and each access_point that of an access point, fsap-…."
  }

  validation {
    condition     = alltrue([for volume in values(var.volumes) : volume.access_point == null || volume.root_directory == "/"])
    error_message = "root_directory in volumes goes without access_point, which has a root of its own."
  }

  validation {
    condition     = length(setsubtract(flatten([keys(var.container.mounts), [for sidecar in var.sidecars : keys(sidecar.mounts)]]), keys(var.volumes))) == 0
    error_message = "Each name in mounts must be one of volumes."
  }
}
