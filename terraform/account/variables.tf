variable "region" {
  description = "AWS region of the repository and of every stage, for example ap-southeast-1."
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

  validation {
    condition     = length("${var.namespace}-${var.name}-github-actions") <= 64
    error_message = "namespace, name and github-actions joined by hyphens must fit the 64 characters of a role's name: shorten one of them."
  }
}

variable "stages" {
  description = "Environments of the application; each gets a pipeline role of its own."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.stages) > 0 && alltrue([for stage in var.stages : can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", stage))])
    error_message = "stages must name at least one environment, each in lower-case letters, digits and hyphens, starting with a letter and not ending with a hyphen."
  }

  validation {
    condition     = alltrue([for stage in var.stages : length("${var.namespace}-${var.name}-${stage}-pipeline") <= 64])
    error_message = "namespace, name, each stage and the word pipeline joined by hyphens must fit the 64 characters of a role's name: shorten one of them."
  }
}

variable "state_bucket" {
  description = "S3 bucket of Terraform's state and of the release records. It is made by hand, versioned and encrypted, before anything else."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.state_bucket))
    error_message = "state_bucket must be the name of an S3 bucket."
  }
}

# ---- Who may come in ----

variable "github_repository" {
  description = "The application's repository: owner/repository."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository must be owner/repository, with no wildcard."
  }
}

variable "github_environment" {
  description = "GitHub environment whose jobs may push images by a role of their own; null makes no such role. Protect it in GitHub: its rules decide who may use it."
  type        = string
  default     = null

  validation {
    condition     = var.github_environment == null || can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*$", var.github_environment))
    error_message = "github_environment must be a GitHub environment's name in letters, digits, dots, hyphens and underscores, with no wildcard."
  }
}

variable "github_repository_id" {
  description = "GitHub's id of the repository, which a repository created later under the same name does not have; null does not check it."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository_id == null || can(regex("^[0-9]+$", var.github_repository_id))
    error_message = "github_repository_id must be digits, as `gh api repos/<owner>/<repository> --jq .id` prints them."
  }
}

variable "github_oidc_provider_arn" {
  description = "GitHub's OIDC provider if the account has it (there can be one only); null makes it where github_environment is set."
  type        = string
  default     = null

  validation {
    condition     = var.github_oidc_provider_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/token\\.actions\\.githubusercontent\\.com$", var.github_oidc_provider_arn))
    error_message = "github_oidc_provider_arn must be the ARN of the provider token.actions.githubusercontent.com, or null."
  }
}

variable "operator_principal_arns" {
  description = "IAM principals that may assume the operator's role, which is read-only."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.operator_principal_arns) > 0 && alltrue([for principal in var.operator_principal_arns : can(regex("^arn:[a-z-]+:(iam|sts)::[0-9]{12}:[^*]+$", principal))])
    error_message = "operator_principal_arns must name at least one IAM principal by ARN, with no wildcard."
  }
}

variable "pipeline_principal_arns" {
  description = "IAM principals that may assume the pipeline roles: the identity of the release worker."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.pipeline_principal_arns) > 0 && alltrue([for principal in var.pipeline_principal_arns : can(regex("^arn:[a-z-]+:iam::${var.aws_account_number}:(role|user)/[^*]+$", principal))])
    error_message = "pipeline_principal_arns must name at least one role or user of this account by ARN, with no wildcard; the account itself (:root) would let everybody in it release."
  }
}

# ---- Images ----

variable "import_ecr_repository" {
  description = "Take over the repository that exists under this name, with its images. Remove it from the state that made it before that stack is destroyed."
  type        = bool
  default     = false
  nullable    = false
}

variable "images_kept" {
  description = "How many images the repository keeps for each stage. The oldest are deleted first, and a deleted image can no longer be rolled back to."
  type        = number
  default     = 200
  nullable    = false

  validation {
    condition     = var.images_kept >= 20 && floor(var.images_kept) == var.images_kept
    error_message = "images_kept must be a whole number of at least 20, so that no version that runs or may be rolled back to is expired."
  }
}
