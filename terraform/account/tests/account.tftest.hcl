# Plans on a mocked provider: who may do what. No AWS, no network.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }
}

override_resource {
  target          = aws_iam_policy.boundary
  override_during = plan
  values = {
    arn = "arn:aws:iam::123456789012:policy/cursive-team-connections-boundary"
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

run "repository_keeps_what_a_tag_meant" {
  command = plan

  assert {
    condition     = aws_ecr_repository.application.name == "cursive-team/connections" && aws_ecr_repository.application.image_tag_mutability == "IMMUTABLE"
    error_message = "A tag of the repository must not move to another image."
  }

  assert {
    condition     = aws_ecr_repository.application.image_scanning_configuration[0].scan_on_push
    error_message = "Images must be scanned when pushed."
  }

  assert {
    condition = [for rule in jsondecode(aws_ecr_lifecycle_policy.application.policy).rules : [rule.rulePriority, rule.selection.tagPatternList, rule.selection.countNumber] if rule.selection.tagStatus == "tagged"] == [
      [1, ["keep__*"], 10000],
      [3, ["v*__production.*"], 200],
      [4, ["v*__staging.*"], 200],
      [5, ["v*"], 200],
    ]
    error_message = "The images that a rollback may return to must stay, and the newest 200 of each stage, whatever the other stages push."
  }
}

run "nobody_but_pipelines_pushes_images" {
  command = plan

  assert {
    condition     = length(aws_iam_role.github_actions) == 0 && length(aws_iam_role_policy.github_actions) == 0 && length(aws_iam_openid_connect_provider.github) == 0
    error_message = "Without github_environment there must be no role for GitHub."
  }

  assert {
    condition     = output.github_actions_role_arn == null
    error_message = "A role that does not exist has no ARN."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.operator.policy, "ecr:PutImage") && alltrue([for stage in var.stages : strcontains(aws_iam_role_policy.pipeline_images[stage].policy, "ecr:PutImage")])
    error_message = "Of this root's roles only the pipelines may push images."
  }
}

run "github_comes_in_by_one_environment_of_one_repository" {
  command = plan

  variables {
    github_environment = "images"
  }

  assert {
    condition = jsondecode(aws_iam_role.github_actions[0].assume_role_policy).Statement == [{
      Effect    = "Allow"
      Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
          "token.actions.githubusercontent.com:sub" = "repo:cursive-team/connections:environment:images"
        }
      }
    }]
    error_message = "Only jobs of the named environment may take the role, and no pattern decides."
  }

  assert {
    condition     = toset([for action in flatten([for statement in jsondecode(aws_iam_role_policy.github_actions[0].policy).Statement : statement.Action]) : split(":", action)[0]]) == toset(["ecr"])
    error_message = "GitHub may push images and nothing else."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.github_actions[0].policy).Statement : statement.Resource] == [["*"], ["arn:aws:ecr:ap-southeast-1:123456789012:repository/cursive-team/connections"]]
    error_message = "GitHub may push to one repository."
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "An OIDC provider that exists must not be made again."
  }
}

run "github_repository_is_the_one_of_that_number" {
  command = plan

  variables {
    github_environment   = "images"
    github_repository_id = "123456789"
  }

  assert {
    condition     = jsondecode(aws_iam_role.github_actions[0].assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:repository_id"] == "123456789"
    error_message = "A repository made later under the same name must not come in."
  }
}

run "github_provider_is_made_where_there_is_none" {
  command = plan

  variables {
    github_environment       = "images"
    github_oidc_provider_arn = null
  }

  assert {
    condition     = aws_iam_openid_connect_provider.github[0].url == "https://token.actions.githubusercontent.com" && aws_iam_openid_connect_provider.github[0].client_id_list == toset(["sts.amazonaws.com"])
    error_message = "Without a given provider, GitHub's must be made."
  }
}

run "operator_only_reads" {
  command = plan

  assert {
    condition = alltrue([for action in flatten([for policy in [aws_iam_role_policy.operator.policy, aws_iam_role_policy.operator_compares.policy] :
    [for statement in jsondecode(policy).Statement : statement.Action]]) : can(regex(":(Describe|Get|List|Filter|Lookup)", action))])
    error_message = "Each right of the operator must be a read."
  }

  assert {
    condition = !anytrue([for policy in [aws_iam_role_policy.operator.policy, aws_iam_role_policy.operator_compares.policy] :
    strcontains(policy, "GetSecretValue") || strcontains(policy, "tflock")])
    error_message = "The operator reads no secret, and touches no lock."
  }
}

run "each_stage_has_a_pipeline_role" {
  command = plan

  assert {
    condition = { for stage, role in aws_iam_role.pipeline : stage => role.name } == {
      production = "cursive-team-connections-production-pipeline"
      staging    = "cursive-team-connections-staging-pipeline"
    }
    error_message = "Each stage must have its own pipeline role."
  }

  assert {
    condition     = alltrue([for role in aws_iam_role.pipeline : jsondecode(role.assume_role_policy).Statement[0].Principal == { AWS = ["arn:aws:iam::123456789012:role/worker"] }])
    error_message = "Only the named principals may take it."
  }
}

run "pipeline_writes_no_network_and_no_iam_and_has_no_call_for_secrets" {
  command = plan

  assert {
    condition = toset([
      for action in flatten([for policy in [
        aws_iam_role_policy.pipeline_images["staging"].policy, aws_iam_role_policy.pipeline_slots["staging"].policy,
        aws_iam_role_policy.pipeline_state["staging"].policy, aws_iam_role_policy.pipeline_traffic["staging"].policy,
      ] : [for statement in jsondecode(policy).Statement : statement.Action]]) : action if !can(regex(":(Describe|Get|List|Filter|Batch)", action))
      ]) == toset([
      "ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
      "ecs:CreateService", "ecs:RegisterTaskDefinition", "ecs:RunTask", "ecs:StopTask", "ecs:TagResource", "ecs:UpdateService",
      "elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyTargetGroup", "iam:PassRole", "s3:DeleteObject", "s3:PutObject",
    ])
    error_message = "The pipeline's writes must be exactly those that a release needs."
  }

  assert {
    condition = length(setsubtract(
      ["elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeRules"],
      flatten([for policy in [aws_iam_role_policy.pipeline_traffic["staging"].policy, aws_iam_role_policy.operator.policy] :
        [for statement in jsondecode(policy).Statement : statement.Action]
      ])
    )) == 0 && strcontains(aws_iam_role_policy.pipeline_traffic["staging"].policy, "DescribeRules")
    error_message = "The pipeline must see a listener's rules: one that names its groups is a foreign hand."
  }

  assert {
    condition = !anytrue([for policy in [
      aws_iam_role_policy.pipeline_images["staging"].policy, aws_iam_role_policy.pipeline_slots["staging"].policy,
      aws_iam_role_policy.pipeline_state["staging"].policy, aws_iam_role_policy.pipeline_traffic["staging"].policy,
    ] : strcontains(policy, "secretsmanager") || strcontains(policy, "\"ec2:") || can(regex("\"[a-z0-9]*:?\\*\"", replace(policy, "\"Resource\":[\"*\"]", "")))])
    error_message = "The pipeline must have no right on secrets or on the network, and no action by wildcard."
  }
}

run "pipeline_gives_tasks_no_public_address_and_no_shell" {
  command = plan

  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.pipeline_bounds["staging"].policy).Statement : statement.Sid => [statement.Effect, statement.Action, statement.Resource, statement.Condition] } == {
      NoPublicAddress = ["Deny", ["ecs:CreateService", "ecs:UpdateService"], ["*"], { StringEquals = { "ecs:auto-assign-public-ip" = ["true", "ENABLED"] } }]
      NoShellInTasks  = ["Deny", ["ecs:CreateService", "ecs:RunTask", "ecs:UpdateService"], ["*"], { StringEquals = { "ecs:enable-execute-command" = "true" } }]
    }
    error_message = "The pipeline must not start tasks with a public address or with ECS Exec."
  }
}

run "pipeline_passes_its_own_stages_roles_to_tasks_only" {
  command = plan

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.pipeline_slots["staging"].policy).Statement : [statement.Resource, statement.Condition] if contains(statement.Action, "iam:PassRole")] == [[
      ["arn:aws:iam::123456789012:role/cursive-team-connections-staging-execution", "arn:aws:iam::123456789012:role/cursive-team-connections-staging-task"],
      { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } },
    ]]
    error_message = "The pipeline may pass the stage's two task roles to tasks and to nothing else."
  }
}

run "pipeline_sets_health_checks_of_its_own_stage_only" {
  command = plan

  assert {
    condition = [for statement in jsondecode(aws_iam_role_policy.pipeline_traffic["staging"].policy).Statement : statement.Resource if contains(statement.Action, "elasticloadbalancing:ModifyTargetGroup")] == [[
      "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/connections-staging-blue/*",
      "arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:targetgroup/connections-staging-green/*",
    ]]
    error_message = "A release may change the health check of its own stage's two target groups and of no other."
  }
}

run "pipeline_of_one_stage_cannot_reach_another" {
  command = plan

  # Every resource but "*" names the stage, save the one repository that all stages share and the bucket, which the
  # prefix condition narrows.
  assert {
    condition = alltrue([
      for resource in flatten([for policy in [
        aws_iam_role_policy.pipeline_slots["staging"].policy, aws_iam_role_policy.pipeline_state["staging"].policy, aws_iam_role_policy.pipeline_traffic["staging"].policy,
      ] : [for statement in jsondecode(policy).Statement : statement.Resource]]) : strcontains(resource, "staging") if !contains(["*", "arn:aws:s3:::cursive-team-connections-state"], resource)
    ])
    error_message = "Each resource of a pipeline must be its stage's."
  }

  assert {
    condition = alltrue([for statement in jsondecode(aws_iam_role_policy.pipeline_slots["staging"].policy).Statement :
    try(statement.Condition.ArnEquals["ecs:cluster"], null) == "arn:aws:ecs:ap-southeast-1:123456789012:cluster/cursive-team-connections-staging" if length(setintersection(statement.Action, ["ecs:CreateService", "ecs:UpdateService", "ecs:RunTask", "ecs:StopTask", "ecs:ListTasks"])) > 0])
    error_message = "What the pipeline does to services and tasks must be bound to the stage's cluster."
  }

  assert {
    condition     = toset(flatten([for statement in jsondecode(aws_iam_role_policy.pipeline_slots["staging"].policy).Statement : statement.Resource if contains(statement.Action, "ecs:RunTask")])) == toset(["arn:aws:ecs:ap-southeast-1:123456789012:task-definition/cursive-team-connections-staging-blue-migration:*", "arn:aws:ecs:ap-southeast-1:123456789012:task-definition/cursive-team-connections-staging-green-migration:*"])
    error_message = "Of one-off tasks the pipeline may run migrations only."
  }

  assert {
    condition     = flatten([for statement in jsondecode(aws_iam_role_policy.pipeline_traffic["staging"].policy).Statement : statement.Resource if contains(statement.Action, "elasticloadbalancing:ModifyListener")]) == ["arn:aws:elasticloadbalancing:ap-southeast-1:123456789012:listener/app/connections-staging/*/*"]
    error_message = "The pipeline may move the weights of its stage's load balancer only."
  }
}

run "pipeline_writes_its_slots_states_and_records" {
  command = plan

  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.pipeline_state["staging"].policy).Statement : statement.Resource if contains(statement.Action, "s3:PutObject")])) == toset([
      "arn:aws:s3:::cursive-team-connections-state/terraform/staging/slot-blue.tfstate",
      "arn:aws:s3:::cursive-team-connections-state/terraform/staging/slot-blue.tfstate.tflock",
      "arn:aws:s3:::cursive-team-connections-state/terraform/staging/slot-green.tfstate",
      "arn:aws:s3:::cursive-team-connections-state/terraform/staging/slot-green.tfstate.tflock",
      "arn:aws:s3:::cursive-team-connections-state/releases/staging/*",
    ])
    error_message = "The pipeline may write its slots' states, their locks and its records; the environment's state it reads."
  }

  assert {
    condition     = alltrue(flatten([for statement in jsondecode(aws_iam_role_policy.pipeline_state["staging"].policy).Statement : [for resource in statement.Resource : endswith(resource, ".tflock")] if contains(statement.Action, "s3:DeleteObject")]))
    error_message = "The pipeline may delete locks, never a state or a record."
  }
}

run "reconciler_brings_no_new_version" {
  command = plan

  assert {
    condition = toset([
      for action in flatten([for policy in [
        aws_iam_role_policy.reconciler_slots["staging"].policy, aws_iam_role_policy.reconciler_state["staging"].policy, aws_iam_role_policy.reconciler_traffic["staging"].policy,
      ] : [for statement in jsondecode(policy).Statement : statement.Action]]) : action if !can(regex(":(Describe|Get|List|Filter)", action))
      ]) == toset([
      "ecs:RegisterTaskDefinition", "ecs:StopTask", "ecs:TagResource", "ecs:UpdateService",
      "elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyTargetGroup", "iam:PassRole", "s3:DeleteObject", "s3:PutObject",
    ])
    error_message = "Who cleans up pushes no image, starts no migration and makes no service."
  }

  assert {
    condition     = aws_iam_role_policy.reconciler_bounds["staging"].policy == aws_iam_role_policy.pipeline_bounds["staging"].policy
    error_message = "What the pipeline is refused, who cleans up is refused."
  }
}

run "each_stage_has_a_reconciler_role" {
  command = plan

  assert {
    condition = { for stage, role in aws_iam_role.reconciler : stage => role.name } == {
      production = "cursive-team-connections-production-reconciler"
      staging    = "cursive-team-connections-staging-reconciler"
    }
    error_message = "Each stage must have its own reconciler role."
  }

  assert {
    condition     = alltrue([for role in aws_iam_role.reconciler : jsondecode(role.assume_role_policy).Statement[0].Principal == { AWS = ["arn:aws:iam::123456789012:role/worker"] }])
    error_message = "Only the named principals may take it."
  }
}

run "a_stage_with_a_worker_of_its_own_admits_no_other" {
  command = plan

  variables {
    stage_principal_arns = { production = ["arn:aws:iam::123456789012:role/production-worker"] }
  }

  assert {
    condition = { for stage, role in aws_iam_role.pipeline : stage => jsondecode(role.assume_role_policy).Statement[0].Principal.AWS } == {
      production = ["arn:aws:iam::123456789012:role/production-worker"]
      staging    = ["arn:aws:iam::123456789012:role/worker"]
    }
    error_message = "Staging's worker must not act in production."
  }

  assert {
    condition     = jsondecode(aws_iam_role.reconciler["production"].assume_role_policy).Statement[0].Principal.AWS == ["arn:aws:iam::123456789012:role/production-worker"]
    error_message = "Nor may it clean up there."
  }
}

run "every_role_is_made_under_the_boundary" {
  command = plan

  variables {
    github_environment = "images"
  }

  assert {
    condition = toset(concat(
      values(aws_iam_role.pipeline)[*].permissions_boundary,
      values(aws_iam_role.reconciler)[*].permissions_boundary,
      aws_iam_role.github_actions[*].permissions_boundary,
      [aws_iam_role.operator.permissions_boundary],
    )) == toset(["arn:aws:iam::123456789012:policy/cursive-team-connections-boundary"])
    error_message = "No role must be made without the boundary."
  }
}

run "boundary_allows_all_that_roles_are_granted" {
  command = plan

  variables {
    github_environment = "images"
  }

  # A grant that the boundary does not allow would have no effect.
  assert {
    condition = length([
      for action in distinct(flatten([for policy in concat(
        [for policy in [
          aws_iam_role_policy.pipeline_images, aws_iam_role_policy.pipeline_slots, aws_iam_role_policy.pipeline_traffic, aws_iam_role_policy.pipeline_state,
          aws_iam_role_policy.reconciler_slots, aws_iam_role_policy.reconciler_traffic, aws_iam_role_policy.reconciler_state,
        ] : policy["staging"].policy],
        [aws_iam_role_policy.operator.policy, aws_iam_role_policy.operator_compares.policy, aws_iam_role_policy.github_actions[0].policy],
      ) : [for statement in jsondecode(policy).Statement : statement.Action]])) : action
      if !anytrue([for allowed in flatten([for statement in jsondecode(aws_iam_policy.boundary[0].policy).Statement : statement.Action]) :
      endswith(allowed, "*") ? startswith(action, trimsuffix(allowed, "*")) : action == allowed])
    ]) == 0
    error_message = "The boundary must allow what the roles' own policies allow."
  }
}

run "boundary_lets_nobody_make_himself_more" {
  command = plan

  variables {
    application_actions = ["s3:GetObject", "ses:SendEmail"]
  }

  assert {
    condition = alltrue([for action in flatten([for statement in jsondecode(aws_iam_policy.boundary[0].policy).Statement : statement.Action]) :
    action == "iam:PassRole" || !can(regex("^(sts|organizations|account|kms):|^(iam|ec2):[^GLD]|:[*]$|^[*]", action)) && !can(regex("^(iam|ec2):D(elete|etach|isa)", action))])
    error_message = "The boundary must allow neither identities nor networks, and no service as a whole."
  }

  assert {
    condition = one([for statement in jsondecode(aws_iam_policy.boundary[0].policy).Statement : statement if contains(statement.Action, "iam:PassRole")]).Resource == [
      "arn:aws:iam::123456789012:role/cursive-team-connections-production-execution", "arn:aws:iam::123456789012:role/cursive-team-connections-production-task",
      "arn:aws:iam::123456789012:role/cursive-team-connections-staging-execution", "arn:aws:iam::123456789012:role/cursive-team-connections-staging-task",
    ]
    error_message = "Only the roles of tasks may ever be passed."
  }

  assert {
    condition     = one([for statement in jsondecode(aws_iam_policy.boundary[0].policy).Statement : statement.Action if statement.Sid == "TheApplicationsOwn"]) == ["s3:GetObject", "ses:SendEmail"]
    error_message = "What the application is given must be allowed by the boundary too."
  }

  assert {
    condition     = output.task_permissions_boundary_arn == output.permissions_boundary_arn
    error_message = "With application_actions, the roles of tasks are bound as well."
  }
}

run "tasks_of_before_are_not_bound_by_an_upgrade" {
  command = plan

  assert {
    condition     = output.task_permissions_boundary_arn == null
    error_message = "An application that was given rights by hand must not lose them to an upgrade."
  }
}

run "own_boundary_is_taken" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/the-company-s"
  }

  assert {
    condition     = length(aws_iam_policy.boundary) == 0 && aws_iam_role.operator.permissions_boundary == "arn:aws:iam::123456789012:policy/the-company-s" && output.task_permissions_boundary_arn == "arn:aws:iam::123456789012:policy/the-company-s"
    error_message = "A boundary of the account's own must be used for every role."
  }
}

run "stage_pushes_to_a_repository_of_its_own" {
  command = plan

  variables {
    stage_repositories = ["production", "staging"]
  }

  assert {
    condition = { for stage in ["production", "staging"] : stage =>
      { for statement in jsondecode(aws_iam_role_policy.pipeline_images[stage].policy).Statement : statement.Sid => statement.Resource }
      } == { for stage in ["production", "staging"] : stage => {
        RegistryLogin = ["*"]
        PushImages    = ["arn:aws:ecr:ap-southeast-1:123456789012:repository/cursive-team/connections/${stage}"]
        ReadImages    = ["arn:aws:ecr:ap-southeast-1:123456789012:repository/cursive-team/connections/${stage}", "arn:aws:ecr:ap-southeast-1:123456789012:repository/cursive-team/connections"]
    } }
    error_message = "A stage may push to its own repository only, and read the one of before."
  }

  assert {
    condition     = alltrue([for stage, repository in aws_ecr_repository.stage : repository.name == "cursive-team/connections/${stage}" && repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push])
    error_message = "A stage's repository must be like the one of before: tags that do not move, images that are scanned."
  }

  assert {
    condition     = aws_ecr_repository.application.name == "cursive-team/connections"
    error_message = "The repository of before must stay: records name digests in it."
  }
}

run "stages_of_before_push_to_the_shared_repository" {
  command = plan

  variables {
    stage_repositories = ["production"]
  }

  assert {
    condition     = { for statement in jsondecode(aws_iam_role_policy.pipeline_images["staging"].policy).Statement : statement.Sid => statement.Resource if statement.Sid != "RegistryLogin" } == { PushImages = ["arn:aws:ecr:ap-southeast-1:123456789012:repository/cursive-team/connections"], ReadImages = ["arn:aws:ecr:ap-southeast-1:123456789012:repository/cursive-team/connections"] }
    error_message = "A stage without a repository of its own goes on pushing where it did."
  }

  assert {
    condition     = keys(aws_ecr_repository.stage) == ["production"]
    error_message = "Only the named stages get a repository."
  }
}

run "boundary_reaches_secrets_of_named_accounts_and_keys_alone" {
  command = plan

  variables {
    secret_account_numbers = ["999999999999"]
    secret_key_arns        = ["arn:aws:kms:ap-southeast-1:999999999999:key/0a"]
  }

  assert {
    condition = { for statement in jsondecode(aws_iam_policy.boundary[0].policy).Statement : statement.Sid => statement.Resource if contains(["ReadSecretsOfTasks", "ReadParametersOfTasks", "DecryptSecretsOfTasks"], statement.Sid) } == {
      ReadSecretsOfTasks    = ["arn:aws:secretsmanager:ap-southeast-1:123456789012:secret:*", "arn:aws:secretsmanager:ap-southeast-1:999999999999:secret:*"]
      ReadParametersOfTasks = ["arn:aws:ssm:ap-southeast-1:123456789012:parameter/*", "arn:aws:ssm:ap-southeast-1:999999999999:parameter/*"]
      DecryptSecretsOfTasks = ["arn:aws:kms:ap-southeast-1:999999999999:key/0a"]
    }
    error_message = "The boundary must reach this account's secrets, the named accounts' and the named keys, and no others."
  }
}

run "secret_account_by_name" {
  command = plan

  variables {
    secret_account_numbers = ["theirs"]
  }

  expect_failures = [var.secret_account_numbers]
}

run "secret_key_by_alias" {
  command = plan

  variables {
    secret_key_arns = ["arn:aws:kms:ap-southeast-1:123456789012:alias/mine"]
  }

  expect_failures = [var.secret_key_arns]
}
