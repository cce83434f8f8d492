"""Which workflows of a checkout deploy by themselves when a version is tagged."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from core.workflows import deploying_workflows, is_workflow

PATH = ".github/workflows/deploy.yml"
APPLY = "- run: terraform apply -auto-approve"
LOGIN = "- uses: aws-actions/amazon-ecr-login@v2"


def workflow(*steps: str, on: str = "push: { tags: ['v*'] }", name: str = "Deploy", job: str = "") -> str:
    head = f"name: {name}\non:\n{indent(dedent(on), '  ')}\njobs:\n  deploy:\n    runs-on: ubuntu-latest\n"
    body = "".join(indent(dedent(step), "      ") + "\n" for step in steps)
    return head + (indent(dedent(job), "    ") + "\n" if job else "") + "    steps:\n" + body


def what_is_seen(text: str) -> list[str]:
    return [evidence.what for one in deploying_workflows({PATH: text}) for evidence in one.evidence if evidence.certain]


@pytest.mark.parametrize(
    ("steps", "what"),
    [
        ([APPLY], "terraform apply"),
        (["- run: terraform -chdir=infra apply tfplan"], "terraform apply"),
        (["- run: cd infra && TF_VAR_tag=${{ github.ref_name }} terraform apply -auto-approve"], "terraform apply"),
        (["- run: |\n    set -e\n    terraform \\\n      apply -auto-approve"], "terraform apply"),
        (["- run: if tofu apply; then echo; fi"], "terraform apply"),
        (["- run: terraform destroy"], "terraform destroy"),
        (["- run: aws ecs update-service --cluster c --service s --force-new-deployment"], "aws ecs update-service"),
        (["- run: aws --region eu-west-1 --no-cli-pager ecs update-service"], "aws ecs update-service"),
        (["- run: aws elbv2 modify-listener --listener-arn x"], "aws elbv2 modify-listener"),
        (["- run: ecs deploy cluster service --tag v1"], "ecs deploy"),
        (["- run: pnpm prisma migrate deploy"], "prisma migrate deploy"),
        (["- run: npx prisma migrate deploy"], "prisma migrate deploy"),
        (
            ["- uses: aws-actions/amazon-ecs-deploy-task-definition@v2\n  with: { service: s }"],
            "aws-actions/amazon-ecs-deploy-task-definition",
        ),
        (
            [
                "- uses: aws-actions/configure-aws-credentials@v4\n"
                "  with: { role-to-assume: 'arn:aws:iam::123456789012:role/github_actions' }"
            ],
            "takes the role github_actions",
        ),
        ([LOGIN, "- run: docker push $REGISTRY/cursive-team/connections:$TAG"], "docker push"),
        ([LOGIN, "- run: docker buildx build --platform linux/amd64 -t x --push ."], "docker push"),
        (["- run: docker push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1"], "docker push"),
        ([LOGIN, "- uses: docker/build-push-action@v6\n  with: { push: true }"], "pushes an image"),
    ],
)
def test_what_deploys_is_recognised(steps: list[str], what: str) -> None:
    assert what_is_seen(workflow(*steps)) == [what]


@pytest.mark.parametrize(
    "steps",
    [
        ["- run: npm test"],
        ["- run: terraform plan"],
        ["- run: |\n    # terraform apply\n    terraform fmt -check"],
        ["- run: aws ecs describe-services --cluster c"],
        ["- run: docker build ."],
        ["- run: docker push ghcr.io/someone/else:1"],
        ["- if: false\n  run: terraform apply"],
        ["- if: ${{ false }}\n  run: terraform apply"],
        [LOGIN, "- uses: docker/build-push-action@v6\n  with: { push: false }"],
        ["- uses: aws-actions/configure-aws-credentials@v4\n  with: { role-to-assume: 'arn:aws:iam::1:role/docs' }"],
    ],
)
def test_what_does_not_deploy_is_left_in_peace(steps: list[str]) -> None:
    assert what_is_seen(workflow(*steps)) == []


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ("- run: ./with-lock.sh terraform apply", "terraform apply (in another command)"),
        (
            "- uses: aws-actions/configure-aws-credentials@v4\n  with: { role-to-assume: '${{ secrets.AWS_ROLE }}' }",
            "takes a role of AWS that the file does not name",
        ),
        ("- run: docker push someone/else:1", "docker push"),
    ],
)
def test_what_may_deploy_is_named_without_being_sure(step: str, what: str) -> None:
    (found,) = deploying_workflows({PATH: workflow(step)})

    assert [(one.what, one.certain) for one in found.evidence] == [(what, False)]
    assert found.on_version_tag
    assert not found.must_be_off


@pytest.mark.parametrize(
    ("on", "told", "by_tag"),
    [
        ("push: { tags: ['v*'] }", "push of tags v*", True),
        ("push: { tags: ['v[0-9]+.[0-9]+.[0-9]+'] }", "push of tags v[0-9]+.[0-9]+.[0-9]+", True),
        ("push: { tags: ['**'] }", "push of tags **", True),
        ("push: { tags: ['*.*.*'] }", "push of tags *.*.*", True),
        ("push: { tags: ['v?1.*'] }", "push of tags v?1.*", True),
        ("push: { tags: v1.4.0 }", "push of tags v1.4.0", True),
        ("push: { tags: ['docs-*', '!v*'] }", "push of tags docs-*, !v*", False),
        ("push: { tags: ['version-*', 'vault*'] }", "push of tags version-*, vault*", False),
        ("push: { branches: [main], tags: ['v*'] }", "push of tags v*", True),
        ("push: { branches: [main] }", "push of branches main", False),
        ("push: { branches-ignore: [main] }", "push of branches but some", False),
        ("push: { tags-ignore: ['v*'] }", "push of tags but v*", False),
        ("push: { tags-ignore: ['docs-*'] }", "push of tags but docs-*", True),
        ("push:", "every push, of tags too", True),
        ("push: { paths: [infra/**] }", "every push, of tags too", True),
        ("create:", "a new branch or tag", True),
        ("release: { types: [published] }", "a release at GitHub", True),
        ("workflow_dispatch:", "by hand", False),
        ("pull_request:", "pull_request", False),
        ("schedule: [{ cron: '0 0 * * *' }]", "schedule", False),
    ],
)
def test_what_starts_a_workflow_decides_whether_it_must_be_off(on: str, told: str, by_tag: bool) -> None:
    (found,) = deploying_workflows({PATH: workflow(APPLY, on=on)})

    assert found.triggers == (told,)
    assert found.must_be_off is by_tag


@pytest.mark.parametrize("on", ["push", "[push, workflow_dispatch]"])
def test_events_may_be_a_word_or_a_list(on: str) -> None:
    text = f"on: {on}\njobs: {{ deploy: {{ steps: [{{ run: terraform apply }}] }} }}\n"

    assert deploying_workflows({PATH: text})[0].must_be_off


def test_a_job_that_is_switched_off_deploys_nothing() -> None:
    assert deploying_workflows({PATH: workflow(APPLY, job="if: false")}) == ()
    assert deploying_workflows({PATH: workflow(APPLY, job="if: github.ref_type == 'tag'")})


def test_a_reusable_workflow_counts_for_its_caller() -> None:
    files = {
        ".github/workflows/release.yml": (
            "on: { push: { tags: ['v*'] } }\njobs: { ship: { uses: ./.github/workflows/reusable.yaml } }\n"
        ),
        ".github/workflows/reusable.yaml": workflow(APPLY, on="workflow_call:"),
    }

    caller, reusable = deploying_workflows(files)

    assert (caller.path, caller.must_be_off) == (".github/workflows/release.yml", True)
    assert "reusable.yaml" in str(caller.evidence[0])
    assert (reusable.triggers, reusable.must_be_off) == (("called by others",), False)


def test_workflows_that_call_each_other_end() -> None:
    call = "on: push\njobs: {{ a: {{ uses: ./.github/workflows/{} }} }}\n"
    files = {".github/workflows/a.yml": call.format("b.yml"), ".github/workflows/b.yml": call.format("a.yml")}

    assert deploying_workflows(files) == ()


def test_a_workflow_of_elsewhere_that_is_named_for_deploying_may_deploy() -> None:
    text = "on: push\njobs: { a: { uses: acme/ci/.github/workflows/deploy.yml@v1 } }\n"

    assert not deploying_workflows({PATH: text})[0].certain
    assert deploying_workflows({PATH: text.replace("deploy.yml", "lint.yml")}) == ()


def test_a_local_action_counts_for_the_step_that_uses_it() -> None:
    files = {
        PATH: workflow("- uses: ./.github/actions/deploy"),
        ".github/actions/deploy/action.yml": "runs: { using: composite, steps: [{ run: terraform apply }] }\n",
    }

    (found,) = deploying_workflows(files)

    assert str(found) == (
        ".github/workflows/deploy.yml (push of tags v*): "
        "terraform apply (job deploy, step 1, .github/actions/deploy/action.yml, step 1)"
    )


def test_a_workflow_that_runs_after_another_starts_with_what_starts_that() -> None:
    after = "workflow_run: { workflows: [Test], types: [completed] }"
    files = {PATH: workflow(APPLY, on=after), ".github/workflows/test.yml": workflow("- run: npm test", name="Test")}

    assert deploying_workflows(files)[0].must_be_off
    files[".github/workflows/test.yml"] = workflow("- run: npm test", name="Test", on="pull_request:")
    assert not deploying_workflows(files)[0].must_be_off


def test_workflows_that_wait_for_each_other_end() -> None:
    files = {
        f".github/workflows/{one}.yml": workflow(APPLY, name=one, on=f"workflow_run: {{ workflows: [{other}] }}")
        for one, other in (("a", "b"), ("b", "a"))
    }

    assert [one.must_be_off for one in deploying_workflows(files)] == [False, False]


@pytest.mark.parametrize(
    "text",
    ["", "- a list\n", "on: [push\n", "jobs: nothing\non: push\n", "on: push\njobs: { a: [], b: { steps: x } }\n"],
)
def test_what_github_would_not_run_either_is_left_out(text: str) -> None:
    assert deploying_workflows({PATH: text}) == ()


def test_a_file_made_to_exhaust_its_reader_is_left_out() -> None:
    assert deploying_workflows({PATH: "[" * 20_000}) == ()


def test_only_files_of_the_workflows_folder_are_workflows() -> None:
    assert is_workflow(".github/workflows/a.yml")
    assert is_workflow(".github/workflows/a.yaml")
    assert not is_workflow(".github/workflows/deep/a.yml")
    assert not is_workflow("docs/.github/workflows/a.yml")
    assert deploying_workflows({"ci/deploy.yml": workflow(APPLY)}) == ()


def test_another_role_of_before_can_be_named() -> None:
    step = (
        "- uses: aws-actions/configure-aws-credentials@v4\n"
        "  with: { role-to-assume: 'arn:aws:iam::123456789012:role/deployer' }"
    )

    assert deploying_workflows({PATH: workflow(step)}) == ()
    assert deploying_workflows({PATH: workflow(step)}, old_roles=["deployer"])[0].must_be_off
