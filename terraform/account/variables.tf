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
    condition     = alltrue([for stage in var.stages : length("${var.namespace}-${var.name}-${stage}-reconciler") <= 64])
    error_message = "namespace, name, each stage and the word reconciler joined by hyphens must fit the 64 characters of a role's name: shorten one of them."
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
  description = "IAM principals that may assume the operator's role, which is read-only: people, and the worker where flows that only look act as it."
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

variable "stage_principal_arns" {
  description = "IAM principals that may assume the pipeline and reconciler roles of single stages, instead of pipeline_principal_arns: give each stage a worker of its own, or one worker can act in all of them."
  type        = map(set(string))
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for stage in keys(var.stage_principal_arns) : contains(var.stages, stage)])
    error_message = "stage_principal_arns must name environments of stages."
  }

  validation {
    condition     = alltrue([for principals in values(var.stage_principal_arns) : length(principals) > 0 && alltrue([for principal in principals : can(regex("^arn:[a-z-]+:iam::${var.aws_account_number}:(role|user)/[^*]+$", principal))])])
    error_message = "stage_principal_arns must name, for each of its stages, at least one role or user of this account by ARN, with no wildcard."
  }
}

# ---- What roles can do at most ----

variable "permissions_boundary_arn" {
  description = "Policy of your own that bounds every role made here and the environments' execution and task roles; null makes one."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/[^*]+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a managed policy, or null."
  }
}

variable "application_actions" {
  description = "Actions that the boundary allows beside those of a release, for what the application's task role is given; an empty set allows none. Null leaves the execution and task roles without a boundary, as those made before have none."
  type        = set(string)
  default     = null

  validation {
    condition     = alltrue([for action in coalesce(var.application_actions, []) : can(regex("^[a-z0-9-]+:[A-Za-z0-9*]+$", action)) && !can(regex("^(iam|sts|organizations|account|sso|sso-directory):", action))])
    error_message = "application_actions must be actions such as s3:GetObject, and none of iam, sts, organizations, account or sso: a boundary must not let a role make itself more than it is."
  }
}

# ---- Images ----

variable "import_ecr_repository" {
  description = "Take over the repository that exists under this name, with its images. Remove it from the state that made it before that stack is destroyed."
  type        = bool
  default     = false
  nullable    = false
}

variable "stage_repositories" {
  description = "Those of stages that have an image repository of their own. The others push to the one that all share, in which each can take another's tag."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(setsubtract(var.stage_repositories, var.stages)) == 0
    error_message = "stage_repositories must name environments of stages."
  }
}

variable "secret_account_numbers" {
  description = "Other accounts whose secrets and parameters tasks may be given. The boundary of the roles allows no other's."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.secret_account_numbers : can(regex("^[0-9]{12}$", account))])
    error_message = "secret_account_numbers must be numbers of accounts, of exactly 12 digits."
  }
}

variable "secret_key_arns" {
  description = "Keys of KMS, other than AWS's own, that secrets and parameters of tasks are encrypted with. The boundary of the roles allows to decrypt with no other, and for Secrets Manager and SSM alone."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.secret_key_arns : can(regex("^arn:[a-z-]+:kms:${var.region}:[0-9]{12}:key/[A-Za-z0-9-]+$", arn))])
    error_message = "secret_key_arns must be ARNs of KMS keys in this region; an alias names no key that a policy can hold."
  }
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
