# One repository a stage: what staging pushes cannot be what production runs, nor take the tag that production will want.

resource "aws_ecr_repository" "stage" {
  for_each = local.own_repositories

  name                 = "${var.namespace}/${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "stage" {
  for_each = aws_ecr_repository.stage

  repository = each.value.name

  policy = jsonencode({
    rules = [
      {
        # What the first rule matches, no rule of a lower priority expires.
        rulePriority = 1
        description  = "Images that a rollback may return to stay"
        selection    = { tagStatus = "tagged", tagPatternList = ["keep__*"], countType = "imageCountMoreThan", countNumber = 10000 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "Untagged images go after two weeks"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 3
        description  = "The newest ${var.images_kept} of v* stay"
        selection    = { tagStatus = "tagged", tagPatternList = ["v*"], countType = "imageCountMoreThan", countNumber = var.images_kept }
        action       = { type = "expire" }
      },
    ]
  })
}
