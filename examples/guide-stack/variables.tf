variable "region" {
  description = "AWS region of the stack."
  type        = string
  default     = "ap-southeast-1"
}

variable "namespace" {
  description = "Owner of the application."
  type        = string
  default     = "cursive-team"
}

variable "name" {
  description = "Name of the application, and of nearly everything here."
  type        = string
  default     = "connections"
}

variable "github_repository" {
  description = "Repository whose workflows deploy: owner/repository."
  type        = string
  default     = "cursive-team/connections"
}

variable "image_tag" {
  description = "Tag of the image that runs: the workflow sets it to the tag that was pushed."
  type        = string
}

variable "database_secret_arn" {
  description = "Secret of the database, which was made by hand."
  type        = string
}

variable "desired_count" {
  description = "Number of tasks."
  type        = number
  default     = 1
}

variable "port" {
  description = "Port of the load balancer's only listener."
  type        = number
  default     = 80
}

variable "health_check" {
  description = "Interval and timeout of the health check in seconds."
  type        = object({ interval = number, timeout = number })
  default     = { interval = 30, timeout = 5 }
}

variable "public_cidrs" {
  description = "Who reaches the load balancer."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}
