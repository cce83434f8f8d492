resource "aws_ecr_repository" "application" {
  name                 = "${var.namespace}/${var.name}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }
}

# An image is tagged once, by its version, stage and inputs (`v1.4.0__production.1a2b3c4d`); one without a tag is what an
# interrupted push left behind. A pattern for each stage, so that a busy one never pushes out what a quiet one runs.
locals {
  kept_patterns = [for stage in sort(var.stages) : "v*__${stage}.*"]
}

resource "aws_ecr_lifecycle_policy" "application" {
  repository = aws_ecr_repository.application.name

  policy = jsonencode({
    rules = concat(
      [{
        rulePriority = 1
        description  = "Untagged images go after two weeks"
        selection = {
          tagStatus   = "untagged"
          countType   = "sinceImagePushed"
          countUnit   = "days"
          countNumber = 14
        }
        action = { type = "expire" }
      }],
      # Last the images of earlier releases, whose tag is the version alone.
      [for position, pattern in concat(local.kept_patterns, ["v*"]) : {
        rulePriority = position + 2
        description  = "The newest ${var.images_kept} of ${pattern} stay"
        selection = {
          tagStatus      = "tagged"
          tagPatternList = [pattern]
          countType      = "imageCountMoreThan"
          countNumber    = var.images_kept
        }
        action = { type = "expire" }
      }],
    )
  })
}

# A repository of this name that was there before is taken over with its images, once; afterwards this says nothing.
import {
  for_each = toset(var.import_ecr_repository ? ["${var.namespace}/${var.name}"] : [])

  to = aws_ecr_repository.application
  id = each.value
}
