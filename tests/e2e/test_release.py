"""A tag becomes live traffic: a first release, an upgrade with a migration under a client, and what stands then."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from core.history import Attempt, State
from core.record import Infrastructure, Live
from core.root_variables import slot_variables
from sandbox.operator import Operator, Run
from sandbox.settings import CODE
from sandbox.traffic import Client, Requests
from systems.terraform import state_key

pytestmark = pytest.mark.e2e

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
STEPS = [
    "checkout",
    "init",
    "build",
    "push",
    "plan",
    "guard",
    "vacate",
    "apply",
    "migrate",
    "start",
    "smoke",
    "shift",
    "confirm",
    "record",
]


@dataclass(frozen=True)
class Upgrade:
    """One release on top of a live one, and what a client saw of it."""

    before: Live
    tag: str
    commit: str
    migration: str
    written: dict[str, Any]
    run: Run
    log: list[str]
    attempt: Attempt
    live: Live
    requests: Requests


def infrastructure(operator: Operator) -> Infrastructure:
    found = operator.record().infrastructure
    assert found is not None
    return found


@pytest.fixture(scope="module")
def live(operator: Operator) -> Live:
    """What is live before the upgrade; where nothing is, v1.0.0 is released by its webhook first."""
    if operator.record().live is None:
        run = operator.wait(operator.deliver("v1.0.0", operator.push("v1.0.0")))
        assert run.type == "COMPLETED", run.message
        assert operator.answering(operator.settings.ports.production)["version"] == "v1.0.0"
        assert sorted(operator.weights().values()) == [0, 100]
    found = operator.record().live
    assert found is not None
    return found


@pytest.fixture(scope="module")
def upgrade(operator: Operator, live: Live, tmp_path_factory: pytest.TempPathFactory) -> Upgrade:
    tag = operator.next_tag()
    migration = f"20260401090000_create_probe_{tag.replace('.', '_')}"
    overlay = tmp_path_factory.mktemp("overlay")
    folder = overlay / "prisma" / "migrations" / migration
    folder.mkdir(parents=True)
    (folder / "migration.sql").write_text(f'CREATE TABLE "probe_{tag.replace(".", "_")}" ("id" INTEGER PRIMARY KEY);\n')
    written = httpx.post(
        f"{operator.application}/connections",
        json={
            "name": "Ada",
            "email": f"ada.{uuid.uuid4().hex}@example.org",
            "event": "Analytical",
            "met_on": "2026-01-31",
        },
        trust_env=False,
    )
    assert written.status_code == 201, written.text
    commit = operator.push("v1.1.0", tag=tag, overlay=overlay)
    with Client(operator.application) as client:
        run = operator.wait(operator.deliver(tag, commit))
        settled = client.seen()
        while client.since(settled).sent < 40:
            assert client.since(settled).failed == 0, client.seen().failures
        requests = client.seen()
    assert run.type == "COMPLETED", run.message
    after = operator.record().live
    assert after is not None
    return Upgrade(
        before=live,
        tag=tag,
        commit=commit,
        migration=migration,
        written=written.json(),
        run=run,
        log=operator.log(run.id),
        attempt=operator.history(tag).attempts[-1],
        live=after,
        requests=requests,
    )


# --- the first release


def test_first_release_goes_into_an_empty_environment(operator: Operator, live: Live) -> None:
    """Whoever released first: the record of that attempt says that its slot and the database were empty."""
    body = {
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        "flows": {"name": {"any_": ["release"]}},
        "sort": "START_TIME_ASC",
        "limit": 1,
    }
    first = operator.api.post("/flow_runs/filter", json=body).raise_for_status().json()[0]
    history = operator.history(first["parameters"]["tag"])
    attempt = next(a for a in history.attempts if a.flow_run_id == first["id"])
    outcome = {step.name: step.outcome for step in attempt.steps}
    assert outcome["vacate"] == "skipped"
    assert outcome["migrate"] == "done"
    assert attempt.state in (State.HEALTHY, State.ROLLED_BACK)
    assert attempt.failure is None
    assert attempt.state_version_before is None
    assert attempt.state_version_after is not None
    assert attempt.release is not None
    assert attempt.release.commit == history.commit


# --- what the upgrade left


def test_no_request_failed_during_the_upgrade(upgrade: Upgrade) -> None:
    assert upgrade.requests.failed == 0, upgrade.requests.failures
    assert upgrade.requests.sent > 100
    assert set(upgrade.requests.versions) == {upgrade.before.release.version, upgrade.tag}


def test_record_says_what_is_live(operator: Operator, upgrade: Upgrade) -> None:
    record, attempt = operator.record(), upgrade.attempt
    assert attempt.state is State.HEALTHY
    assert attempt.flow_run_id == upgrade.run.id
    assert attempt.release == upgrade.live.release
    assert upgrade.live.release.version == upgrade.tag
    assert upgrade.live.release.commit == operator.history(upgrade.tag).commit == upgrade.commit
    assert attempt.colour is upgrade.live.colour is upgrade.before.colour.other
    assert upgrade.before.release in [healthy.release for healthy in record.healthy]
    assert record.lease is None
    assert record.queue == ()
    assert attempt.ended_at is not None
    assert attempt.plan_sha256 is not None
    assert re.fullmatch(r"[0-9a-f]{64}", attempt.plan_sha256)
    assert attempt.state_version_after not in (None, attempt.state_version_before)
    assert len(attempt.verdicts) >= 4
    assert all(verdict.endswith("PASS") for verdict in attempt.verdicts)


def test_record_holds_every_step_with_its_seconds(upgrade: Upgrade) -> None:
    steps = {step.name: step for step in upgrade.attempt.steps}
    assert set(STEPS) <= set(steps)
    for name in STEPS:
        step = steps[name]
        assert step.outcome in ("done", "skipped"), name
        assert step.seconds is not None, name
        assert step.intent, name
        assert step.detail, name
    # Terraform is initialised while the image is made.
    assert steps["push"].seconds is not None
    pushed = steps["push"].started_at.timestamp() + steps["push"].seconds
    assert steps["init"].started_at.timestamp() < pushed
    assert steps["vacate"].started_at > steps["guard"].started_at
    assert steps["apply"].started_at > steps["vacate"].started_at


def test_image_is_tagged_and_recorded_by_digest(operator: Operator, upgrade: Upgrade) -> None:
    found = operator.client("ecr").describe_images(
        repositoryName=operator.settings.repository, imageIds=[{"imageDigest": upgrade.live.release.image_digest}]
    )
    (pushed,) = operator.history(upgrade.tag).images
    kept = f"keep__{operator.settings.stage}.{pushed.digest.removeprefix('sha256:')[:12]}"
    assert sorted(found["imageDetails"][0]["imageTags"]) == sorted([pushed.tag, kept])
    assert pushed.tag.startswith(f"{upgrade.tag}__{operator.settings.stage}.")
    assert (pushed.digest, pushed.commit) == (upgrade.live.release.image_digest, upgrade.commit)


def test_image_carries_its_labels(operator: Operator, upgrade: Upgrade) -> None:
    registry = f"{operator.sandbox.settings.aws_url}/v2/{operator.settings.repository}"
    with httpx.Client(trust_env=False, follow_redirects=True, auth=("AWS", "any")) as client:
        digest = upgrade.live.release.image_digest
        manifest = client.get(f"{registry}/manifests/{digest}", headers={"Accept": MANIFEST}).raise_for_status().json()
        config = client.get(f"{registry}/blobs/{manifest['config']['digest']}").raise_for_status().json()
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == upgrade.tag
    assert labels["org.opencontainers.image.revision"] == upgrade.commit
    assert labels["org.opencontainers.image.source"].endswith(operator.settings.source.github_repository)
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["config"]["User"] not in ("", "root", "0")


def test_running_digest_is_the_recorded_one(operator: Operator, upgrade: Upgrade) -> None:
    running = _containers(operator, upgrade.live.colour.value)
    assert running
    assert {container["image"] for container in running} == {upgrade.live.release.image}


def test_production_listener_answers_from_the_release(operator: Operator, upgrade: Upgrade) -> None:
    assert operator.weights() == {upgrade.live.colour.value: 100, upgrade.before.colour.value: 0}
    for _ in range(10):
        assert operator.answering(operator.settings.ports.production) == {
            "version": upgrade.tag,
            "revision": upgrade.live.release.revision,
            "colour": upgrade.live.colour.value,
        }


def test_old_colour_stays_warm(operator: Operator, upgrade: Upgrade) -> None:
    colour, old = upgrade.before.colour, upgrade.before.release
    service = _service(operator, colour.value)
    assert service["desiredCount"] == service["runningCount"] == operator.settings.service.desired_count
    assert {container["image"] for container in _containers(operator, colour.value)} == {old.image}
    groups = infrastructure(operator).target_group_arns
    health = operator.client("elbv2").describe_target_health(TargetGroupArn=groups[colour])
    assert {target["TargetHealth"]["State"] for target in health["TargetHealthDescriptions"]} == {"healthy"}
    answered = operator.answering(operator.settings.ports.test(colour))
    assert (answered["version"], answered["revision"]) == (old.version, old.revision)


def test_migration_ran_once_and_the_data_is_there(operator: Operator, upgrade: Upgrade) -> None:
    with psycopg.connect(operator.sandbox.environment()["POINTSMAN_SANDBOX_DATABASE_URL"]) as connection:
        rows = connection.execute(
            'SELECT finished_at IS NULL, rolled_back_at FROM "_prisma_migrations" WHERE migration_name = %s',
            [upgrade.migration],
        ).fetchall()
    assert rows == [(False, None)]
    assert upgrade.attempt.schema_head_after in upgrade.attempt.migrations
    assert upgrade.migration in upgrade.attempt.migrations
    read = httpx.get(f"{operator.application}/connections/{upgrade.written['id']}", trust_env=False)
    assert read.status_code == 200
    assert read.json()["email"] == upgrade.written["email"]


# --- Terraform finds nothing to change


def test_plan_of_a_slot_right_after_the_apply_is_empty(operator: Operator, upgrade: Upgrade, tmp_path: Path) -> None:
    live, settings = upgrade.live, operator.settings
    root = tmp_path / "slot"
    root.mkdir()
    for file in (CODE / "terraform" / "slot").glob("*.tf"):
        (root / file.name).write_text(file.read_text())
    variables = slot_variables(settings, infrastructure(operator), live.colour, live.release)
    (root / "release.auto.tfvars.json").write_text(json.dumps(variables))
    backend = {
        "bucket": settings.state_bucket,
        "key": state_key("sandbox", live.colour),
        "region": settings.region,
        "use_lockfile": "true",
    }
    environment = {**os.environ, **operator.sandbox.environment(), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def terraform(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["terraform", f"-chdir={root}", *arguments, "-input=false", "-no-color"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    begun = terraform("init", *(f"-backend-config={name}={value}" for name, value in backend.items()))
    assert begun.returncode == 0, begun.stderr
    planned = terraform("plan", "-detailed-exitcode")  # 0: nothing to change, 2: changes
    assert planned.returncode == 0, planned.stdout + planned.stderr


def test_provisioning_again_changes_nothing(operator: Operator, upgrade: Upgrade) -> None:
    weights = operator.weights()
    run = operator.wait(operator.run("provision"), timeout=200)
    assert run.type == "COMPLETED", run.message
    log = "\n".join(operator.log(run.id))
    assert "account: nothing to change" in log
    assert "environment: nothing to change" in log
    assert operator.weights() == weights
    assert operator.record().live == upgrade.live


# --- what an operator reads


def test_run_reads_like_a_release_log(operator: Operator, upgrade: Upgrade) -> None:
    assert upgrade.run.name == f"{upgrade.tag} → sandbox"
    assert upgrade.tag in upgrade.run.message
    found = operator.api.get(f"/flow_runs/{upgrade.run.id}").raise_for_status().json()
    assert "sandbox" in found["tags"]
    assert found["parameters"]["tag"] == upgrade.tag


@pytest.mark.parametrize("step", STEPS)
def test_each_step_says_in_a_sentence_what_happened(upgrade: Upgrade, step: str) -> None:
    assert [line for line in upgrade.log if re.match(rf"{step}: .+ \(\d+\.\d s\)$", line)]


def test_each_step_is_a_task_that_completed(operator: Operator, upgrade: Upgrade) -> None:
    body = {"flow_runs": {"id": {"any_": [upgrade.run.id]}}, "limit": 200}
    found = operator.api.post("/task_runs/filter", json=body).raise_for_status().json()
    assert {task["state_type"] for task in found} == {"COMPLETED"}
    assert {task["name"] for task in found} == {step.name for step in upgrade.attempt.steps}


def test_log_streams_what_the_tools_say(upgrade: Upgrade) -> None:
    log = "\n".join(upgrade.log)
    assert re.search(r"^#\d+ .*RUN --mount=type=cache", log, re.MULTILINE), "BuildKit's lines"
    pushed = rf"{upgrade.tag}__sandbox\.[0-9a-f]{{8}}: digest: {upgrade.live.release.image_digest}"
    assert re.search(pushed, log), "the push's lines"
    assert "Apply complete!" in log, "Terraform's lines"
    assert "have been applied" in log, "Prisma's lines"
    assert re.search(rf"─ {upgrade.migration}/", log), "the migration, as Prisma names it"
    assert "10 answers in a row" in log
    assert "Traceback" not in log


def test_no_secret_is_logged_or_recorded(operator: Operator, upgrade: Upgrade) -> None:
    url = operator.sandbox.environment()["POINTSMAN_SANDBOX_DATABASE_URL"]
    password = url.split(":")[2].split("@")[0]
    seen = "\n".join([*upgrade.log, operator.record().model_dump_json(), upgrade.attempt.model_dump_json()])
    assert password not in seen
    assert operator.sandbox.webhook_secret() not in seen


def test_summary_artifact_tells_the_release(operator: Operator, upgrade: Upgrade) -> None:
    body = {"artifacts": {"flow_run_id": {"any_": [upgrade.run.id]}}}
    found = operator.api.post("/artifacts/filter", json=body).raise_for_status().json()
    summary = next(artifact["data"] for artifact in found if artifact["key"] == "release-sandbox")
    for fact in (upgrade.tag, upgrade.live.release.image_digest, upgrade.live.colour.value, upgrade.commit):
        assert fact in summary
    for step in upgrade.attempt.steps:
        if step.name != "summary":  # which is under way while it is written
            assert re.search(rf"^\| {step.name} \| {step.outcome} \| {step.seconds:.1f} \|", summary, re.MULTILINE)
    assert re.search(r"confirm .* 10 answers in a row .* \(\d+ requests\)", summary), "the requests seen"


# --- blocks


@pytest.fixture
def documents(operator: Operator) -> Iterator[dict[str, tuple[str, Any]]]:
    """The environment's blocks as the server holds them; the same afterwards."""
    before = _documents(operator)
    yield before
    assert _documents(operator) == before


def test_registering_the_blocks_again_changes_nothing(
    operator: Operator, documents: dict[str, tuple[str, Any]]
) -> None:
    sandbox = operator.sandbox
    secret = sandbox.webhook_secret()
    environment = {
        **os.environ,
        **sandbox.environment(),
        "POINTSMAN_WEBHOOK_SECRET": secret,
        "POINTSMAN_AWS_ACCESS_KEY_ID": "test",
        "POINTSMAN_AWS_SECRET_ACCESS_KEY": "test",
    }
    command = [sys.executable, "-m", "blocks", "register", "sandbox"]
    done = subprocess.run(command, cwd=CODE, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 4
    assert all(line.endswith(": unchanged") for line in lines), done.stdout
    assert secret not in done.stdout + done.stderr
    assert {"pointsman-sandbox", "pointsman-sandbox-aws", "pointsman-sandbox-docker"} <= set(documents)


def _documents(operator: Operator) -> dict[str, tuple[str, Any]]:
    body = {"block_documents": {"is_anonymous": {"eq_": False}}, "include_secrets": True}
    found = operator.api.post("/block_documents/filter", json=body).raise_for_status().json()
    ours = [one for one in found if one["name"].startswith("pointsman-sandbox")]
    return {one["name"]: (one["updated"], one["data"]) for one in ours}


def _service(operator: Operator, colour: str) -> dict[str, Any]:
    found = operator.client("ecs").describe_services(
        cluster=infrastructure(operator).cluster_arn, services=[f"connections-sandbox-{colour}"]
    )
    service: dict[str, Any] = found["services"][0]
    return service


def _containers(operator: Operator, colour: str) -> list[dict[str, Any]]:
    ecs, cluster = operator.client("ecs"), infrastructure(operator).cluster_arn
    arns = ecs.list_tasks(cluster=cluster, serviceName=f"connections-sandbox-{colour}", desiredStatus="RUNNING")
    tasks = ecs.describe_tasks(cluster=cluster, tasks=arns["taskArns"])["tasks"] if arns["taskArns"] else []
    return [container for task in tasks for container in task["containers"]]
