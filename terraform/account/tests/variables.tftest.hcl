# Each rule on a variable refuses what it should refuse. Plans on a mocked provider.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }
}

variables {
  region                   = "ap-southeast-1"
  aws_account_number       = "123456789012"
  namespace                = "cursive-team"
  name                     = "connections"
  stages                   = ["production", "staging"]
  state_bucket             = "cursive-team-connections-state"
  github_repository        = "cursive-team/connections"
  github_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  operator_principal_arns  = ["arn:aws:iam::123456789012:role/people"]
  pipeline_principal_arns  = ["arn:aws:iam::123456789012:role/worker"]
}

run "region_that_is_none" {
  command = plan

  variables {
    region = "Singapore"
  }

  expect_failures = [var.region]
}

run "account_number_too_short" {
  command = plan

  variables {
    aws_account_number = "12345678901"
  }

  expect_failures = [var.aws_account_number]
}

run "namespace_with_capitals" {
  command = plan

  variables {
    namespace = "Cursive"
  }

  expect_failures = [var.namespace]
}

run "name_ending_with_hyphen" {
  command = plan

  variables {
    name = "connections-"
  }

  expect_failures = [var.name]
}

run "role_name_of_65_characters" {
  command = plan

  variables {
    namespace = "abcdefghijklmnopqrstuvwxyzabcdefghijkl"
    stages    = ["a1"]
  }

  expect_failures = [var.name]
}

run "no_stage" {
  command = plan

  variables {
    stages = []
  }

  expect_failures = [var.stages]
}

run "stage_with_underscore" {
  command = plan

  variables {
    stages = ["stag_ing"]
  }

  expect_failures = [var.stages]
}

run "pipeline_role_name_of_65_characters" {
  command = plan

  variables {
    stages = ["abcdefghijklmnopqrstuvwxyzabcde"]
  }

  expect_failures = [var.stages]
}

run "bucket_with_capitals" {
  command = plan

  variables {
    state_bucket = "State"
  }

  expect_failures = [var.state_bucket]
}

run "repository_without_owner" {
  command = plan

  variables {
    github_repository = "connections"
  }

  expect_failures = [var.github_repository]
}

run "every_repository_of_an_owner" {
  command = plan

  variables {
    github_repository = "cursive-team/*"
  }

  expect_failures = [var.github_repository]
}

run "every_environment_of_a_repository" {
  command = plan

  variables {
    github_environment = "*"
  }

  expect_failures = [var.github_environment]
}

run "environment_that_is_a_tag_pattern" {
  command = plan

  variables {
    github_environment = "x:ref:refs/tags/v1"
  }

  expect_failures = [var.github_environment]
}

run "repository_by_name_where_its_number_is_asked_for" {
  command = plan

  variables {
    github_repository_id = "connections"
  }

  expect_failures = [var.github_repository_id]
}

run "oidc_provider_of_somebody_else" {
  command = plan

  variables {
    github_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/gitlab.com"
  }

  expect_failures = [var.github_oidc_provider_arn]
}

run "no_operator" {
  command = plan

  variables {
    operator_principal_arns = []
  }

  expect_failures = [var.operator_principal_arns]
}

run "everybody_as_operator" {
  command = plan

  variables {
    operator_principal_arns = ["*"]
  }

  expect_failures = [var.operator_principal_arns]
}

run "no_pipeline_principal" {
  command = plan

  variables {
    pipeline_principal_arns = []
  }

  expect_failures = [var.pipeline_principal_arns]
}

run "every_role_as_pipeline" {
  command = plan

  variables {
    pipeline_principal_arns = ["arn:aws:iam::123456789012:role/*"]
  }

  expect_failures = [var.pipeline_principal_arns]
}

run "too_few_images" {
  command = plan

  variables {
    images_kept = 5
  }

  expect_failures = [var.images_kept]
}

run "pipeline_open_to_the_whole_account" {
  command = plan

  variables {
    pipeline_principal_arns = ["arn:aws:iam::123456789012:root"]
  }

  expect_failures = [var.pipeline_principal_arns]
}

run "pipeline_open_to_another_account" {
  command = plan

  variables {
    pipeline_principal_arns = ["arn:aws:iam::999999999999:role/worker"]
  }

  expect_failures = [var.pipeline_principal_arns]
}

run "operators_of_the_whole_account" {
  command = plan

  variables {
    operator_principal_arns = ["arn:aws:iam::123456789012:root"]
  }

  assert {
    condition     = jsondecode(aws_iam_role.operator.assume_role_policy).Statement[0].Principal.AWS == ["arn:aws:iam::123456789012:root"]
    error_message = "Reading may be left to the account's own policies."
  }
}

run "repository_for_a_stage_that_is_none" {
  command = plan

  variables {
    stage_repositories = ["live"]
  }

  expect_failures = [var.stage_repositories]
}

run "worker_of_a_stage_that_is_none" {
  command = plan

  variables {
    stage_principal_arns = { live = ["arn:aws:iam::123456789012:role/worker"] }
  }

  expect_failures = [var.stage_principal_arns]
}

run "stage_open_to_the_whole_account" {
  command = plan

  variables {
    stage_principal_arns = { production = ["arn:aws:iam::123456789012:root"] }
  }

  expect_failures = [var.stage_principal_arns]
}

run "boundary_by_name_where_its_arn_is_asked_for" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "application_that_may_make_identities" {
  command = plan

  variables {
    application_actions = ["iam:CreateUser"]
  }

  expect_failures = [var.application_actions]
}

run "application_that_may_do_everything" {
  command = plan

  variables {
    application_actions = ["*"]
  }

  expect_failures = [var.application_actions]
}
