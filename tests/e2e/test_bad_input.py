"""Bad input: each ends its run with one clear message, and live traffic does not notice."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from core.history import State, VersionRecord
from core.image import ImageInputs
from core.record import Live
from sandbox.operator import Operator, Run
from sandbox.part import python
from sandbox.settings import CODE
from sandbox.traffic import Client

pytestmark = pytest.mark.e2e

SEEN: list[Run] = []
"""Every run that failed here: the last lines of a log arrive after its run's state, so they are read at the end."""


@dataclass(frozen=True)
class Failed:
    """A run that ended badly, and its log."""

    run: Run
    log: list[str]


# --- the sandbox, looked at from outside


def release(operator: Operator, tag: str) -> None:
    run = operator.wait(operator.run("release", tag=tag))
    assert run.type == "COMPLETED", run.message


def running(operator: Operator, colour: str) -> tuple[int, int]:
    """How many tasks a slot wants and has; none where no release made its service yet."""
    infrastructure = operator.record().infrastructure
    assert infrastructure is not None
    found = operator.client("ecs").describe_services(
        cluster=infrastructure.cluster_arn, services=[f"connections-sandbox-{colour}"]
    )
    service = next((one for one in found["services"] if one["status"] == "ACTIVE"), None)
    return (service["desiredCount"], service["runningCount"]) if service else (0, 0)


def history(operator: Operator, tag: str) -> VersionRecord | None:
    try:
        return operator.history(tag)
    except operator.client("s3").exceptions.NoSuchKey:
        return None


def traffic(operator: Operator) -> dict[str, Any]:
    record = operator.record()
    return {
        "live": record.live,
        "weights": operator.weights(),
        "answer": operator.answering(operator.settings.ports.production),
    }


@contextmanager
def untouched(operator: Operator) -> Iterator[None]:
    """See live traffic as before, no failed request meanwhile, and nothing held, queued or frozen afterwards."""
    before = traffic(operator)
    with Client(operator.application) as client:
        yield
        seen = client.seen()
    assert traffic(operator) == before
    assert seen.failed == 0, seen.failures
    assert seen.sent > 0
    assert set(seen.versions) == {before["live"].release.version}
    record = operator.record()
    assert record.lease is None
    assert record.queue == ()
    assert record.frozen is None
    assert record.rollback is None


def see_failed(operator: Operator, run_id: str) -> Failed:
    """Wait for a run that must fail, and keep it for the look at all of their logs."""
    run = operator.wait(run_id)
    assert run.type == "FAILED", run.message
    SEEN.append(run)
    return Failed(run, operator.log(run_id))


def errors(operator: Operator, run_id: str) -> list[str]:
    """What a run logged as an error, but for Prefect's own line on each state."""
    body = {"logs": {"flow_run_id": {"any_": [run_id]}, "level": {"ge_": logging.ERROR}}, "sort": "TIMESTAMP_ASC"}
    found = operator.api.post("/logs/filter", json=body).raise_for_status().json()
    return [entry["message"] for entry in found if not entry["message"].startswith("Finished in state")]


def fail(operator: Operator, tag: str, *, step: str) -> Failed:
    """Release a tag that can't be; see that its record says FAILED at `step` and why, and that traffic stays."""
    with untouched(operator):
        failed = see_failed(operator, operator.run("release", tag=tag))
    record = operator.history(tag)
    assert record.state is State.FAILED
    failure = record.attempts[-1].failure
    assert failure is not None
    assert failure.step == step
    assert failure.reason in failed.run.message
    assert failure.remains == ""
    assert f"{tag} → sandbox failed at {step}: " in failed.run.message
    live = operator.record().live
    assert live is not None
    assert f"100 % on {live.release.version} ({live.colour})" in failed.run.message
    return failed


@pytest.fixture(scope="module")
def live(operator: Operator) -> Live:
    """What is live; where nothing is, v1.0.0 is released first."""
    if operator.record().live is None:
        operator.push("v1.0.0")
        release(operator, "v1.0.0")
    found = operator.record().live
    assert found is not None
    return found


@pytest.fixture
def candidate(operator: Operator, live: Live) -> str:
    """The slot that is not live."""
    found = operator.record().live
    assert found is not None
    return found.colour.other.value


@pytest.fixture
def warm(operator: Operator, candidate: str) -> str:
    """The slot that is not live, with the version that a rollback returns to running in it, if need be by a release."""
    if running(operator, candidate) == (0, 0):
        tag = operator.next_tag()
        operator.push("v1.1.0", tag=tag)
        release(operator, tag)
    found = operator.record().live
    assert found is not None
    count = operator.settings.service.desired_count
    assert running(operator, found.colour.other.value) == (count, count)
    return found.colour.other.value


@pytest.fixture
def spoil(operator: Operator) -> Iterator[Callable[..., None]]:
    """Make calls to AWS fail: `spoil(effect=…, service=…, action=…, match=…, times=…)`."""
    with ExitStack() as faults:
        yield lambda **fault: faults.enter_context(operator.with_faults(fault))


# --- refused before anything is begun: their runs go side by side


@pytest.fixture(scope="module")
def production(operator: Operator) -> Iterator[None]:
    """The deployments of an environment whose blocks nobody registered."""
    subprocess.run(
        python("flows", "deploy", "production"),
        env={**os.environ, **operator.sandbox.environment()},
        cwd=CODE,
        check=True,
    )
    yield
    made = operator.api.post("/deployments/filter", json={"deployments": {"name": {"any_": ["production"]}}})
    for deployment in made.raise_for_status().json():
        operator.api.delete(f"/deployments/{deployment['id']}").raise_for_status()


@pytest.fixture(scope="module")
def refused(operator: Operator, live: Live, production: None) -> dict[str, Failed]:
    off_main = operator.next_tag()
    operator.push("v1.1.0", tag=off_main, branch="feature/unmerged")
    asked: dict[str, dict[str, str]] = {
        "no SemVer": {"tag": "v1.4"},
        "no leading v": {"tag": "1.4.0"},
        "missing": {"tag": "v0.0.404"},
        "off main": {"tag": off_main},
        "missing block": {"tag": "v1.4.0", "deployment": "production"},
    }
    with untouched(operator):
        runs = {name: operator.run("release", **parameters) for name, parameters in asked.items()}
        return {name: see_failed(operator, run_id) for name, run_id in runs.items()}


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no SemVer", ["'v1.4' is not a valid version tag", "strict SemVer 2.0 with a leading v, such as v1.4.0"]),
        ("no leading v", ["'1.4.0' is not a valid version tag", "strict SemVer 2.0 with a leading v, such as v1.4.0"]),
        ("missing", ["v0.0.404 → sandbox failed at checkout", "The tag v0.0.404 does not exist", "Push the tag"]),
        ("off main", ["failed at checkout", "is not on main", "is not reachable from main", "tag the merge commit"]),
        (
            "missing block",
            ["The block of environment 'production' is missing", "Run `python -m blocks register production`"],
        ),
    ],
)
def test_refused_with_what_is_wrong_and_what_to_do(refused: dict[str, Failed], case: str, said: list[str]) -> None:
    message = refused[case].run.message
    for words in said:
        assert words in message
    assert "\n" not in message


def test_prefect_makes_no_run_of_another_environment(operator: Operator) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refusal:
        operator.run("release", tag="v1.4.0", environment="production")
    assert refusal.value.response.status_code == 409
    assert "'production' is not one of ['sandbox']" in refusal.value.response.text


@pytest.mark.parametrize("case", ["missing", "off main"])
def test_refused_version_is_recorded_with_its_step(operator: Operator, refused: dict[str, Failed], case: str) -> None:
    failed = refused[case]
    tag = failed.run.name.split(" ")[0]
    record = operator.history(tag)
    assert record.state is State.FAILED
    failure = record.attempts[-1].failure
    assert failure is not None
    assert failure.step == "checkout"
    assert failure.reason in failed.run.message


def test_refused_without_a_version_or_an_environment_writes_no_record(
    operator: Operator, refused: dict[str, Failed]
) -> None:
    for tag in ("v1.4", "1.4.0", "v1.4.0"):
        assert history(operator, tag) is None


# --- failing before the candidate's slot is touched: the old colour stays warm


def test_dockerfile_that_fails(operator: Operator, warm: str) -> None:
    before = running(operator, warm)
    tag = operator.next_tag()
    operator.push("v1.1.0", tag=tag, overlay="dockerfile")
    failed = fail(operator, tag, step="build")
    assert f"The image of {tag} could not be built" in failed.run.message
    assert "RUN node --eval \"throw new Error('assets/logo.svg is missing')\"" in failed.run.message
    assert any("Error: assets/logo.svg is missing" in line for line in failed.log), "what the failing line said"
    assert "Fix Dockerfile" in failed.run.message
    assert running(operator, warm) == before, "a build that failed cost the warm colour"


def test_registry_that_refuses_the_push(operator: Operator, warm: str, spoil: Callable[..., None]) -> None:
    before = running(operator, warm)
    tag = operator.next_tag()
    operator.push("v1.1.0", tag=tag)
    spoil(effect="error:403:AccessDenied", match=f"/manifests/{tag}", times=0)
    failed = fail(operator, tag, step="push")
    assert "ECR refused the push of" in failed.run.message
    assert f":{tag}" in failed.run.message
    assert "403" in failed.run.message
    assert "Check the repository and the pipeline role's policy" in failed.run.message
    assert running(operator, warm) == before, "a push that failed cost the warm colour"


def image_tag(operator: Operator, tag: str, commit: str) -> str:
    """The registry's tag for a version of the sample, whose Dockerfile no version changes."""
    image = operator.settings.image
    dockerfile = (CODE / "examples" / "connections" / "app" / image.dockerfile).read_bytes()
    inputs = ImageInputs(
        version=tag,
        commit=commit,
        dockerfile=image.dockerfile,
        dockerfile_sha256=hashlib.sha256(dockerfile).hexdigest(),
        context=image.context,
        target=image.target,
        build_args=image.build_args,
        attestations=image.attestations,
    )
    return inputs.tag(operator.settings.stage)


def test_image_tag_that_somebody_else_took(operator: Operator, warm: str) -> None:
    before = running(operator, warm)
    tag = operator.next_tag()
    found = operator.record().live
    assert found is not None
    commit = operator.push("v1.1.0", tag=tag)
    ecr, name, taken = operator.client("ecr"), operator.settings.repository, image_tag(operator, tag, commit)
    image = ecr.batch_get_image(repositoryName=name, imageIds=[{"imageDigest": found.release.image_digest}])["images"][
        0
    ]
    ecr.put_image(repositoryName=name, imageManifest=image["imageManifest"], imageTag=taken)
    failed = fail(operator, tag, step="build")
    assert f"The image tag {taken} is taken" in failed.run.message
    assert f"its own revision label says {found.release.commit[:12]}" in failed.run.message
    assert commit[:12] in failed.run.message
    assert "delete that image in ECR and press Retry" in failed.run.message
    assert not [line for line in failed.log if line.startswith("#1 ")], "nothing is built for it"
    assert running(operator, warm) == before, "a refused tag cost the warm colour"


# --- failing once the candidate's slot is emptied: it is empty again afterwards


def test_terraform_error_and_then_the_same_tag_without_a_build(
    operator: Operator, candidate: str, spoil: Callable[..., None]
) -> None:
    tag = operator.next_tag()
    operator.push("v1.1.0", tag=tag)
    spoil(effect="error:400:ClientException", service="ecs", action="RegisterTaskDefinition", times=0)
    failed = fail(operator, tag, step="apply")
    message = failed.run.message
    assert "terraform apply failed" in message.lower()
    assert "creating ECS Task Definition" in message
    assert "aws_ecs_task_definition." in message
    assert "ClientException" in message
    assert "@message" not in message, "its diagnostics, not a dump"
    assert "╷" not in message
    assert running(operator, candidate) == (0, 0)
    first = operator.history(tag).attempts[-1]
    assert first.release is not None

    operator.clear_faults()
    run = operator.wait(operator.run("release", tag=tag))
    assert run.type == "COMPLETED", run.message
    attempt = operator.history(tag).attempts[-1]
    assert attempt.state is State.HEALTHY
    assert attempt.release == first.release
    steps = {step.name: step for step in attempt.steps}
    assert steps["build"].outcome == steps["push"].outcome == "skipped"
    log = operator.log(run.id)
    assert not [line for line in log if re.match(r"#\d+ ", line)], "the image was there already"
    assert operator.answering(operator.settings.ports.production)["version"] == tag


def test_migration_that_fails(operator: Operator, candidate: str) -> None:
    tag = operator.next_tag()
    migration = "20260501090000_add_organiser"
    operator.push("v1.1.0", tag=tag, overlay="migration")
    try:
        failed = fail(operator, tag, step="migrate")
    finally:
        _forget_failed_migration(operator, migration)
    message = failed.run.message
    assert f"The migration of {tag} failed" in message
    assert "P3018" in message
    assert f"migration {migration}" in message
    assert "connection_name_not_blank" in message
    assert "prisma migrate resolve" in message
    assert f"Migration name: {migration}" in failed.log, "Prisma's own lines"
    assert running(operator, candidate) == (0, 0)


def test_candidate_that_exits_at_once(operator: Operator, candidate: str) -> None:
    tag = operator.next_tag()
    operator.push("v1.1.0", tag=tag, overlay="crash")
    failed = fail(operator, tag, step="start")
    message = failed.run.message
    assert f"{tag} did not become healthy in the {candidate} slot" in message
    assert "exit code 1" in message
    assert "its last log lines" in message
    assert "BADGE_SERVICE_URL is not set" in message
    assert any(re.match(r"Task [\w-]+ stopped: .*exit code 1", line) for line in failed.log), (
        "each stopped task's reason"
    )
    assert running(operator, candidate) == (0, 0)


def test_smoke_test_that_fails(operator: Operator, candidate: str, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "health.js").write_text(
        "export const healthz = () => ({ status: 200, body: { status: 'ok' } });\n"
        "export const readyz = () => ({ status: 503, body: { status: 'no badge printer' } });\n"
    )
    tag = operator.next_tag()
    operator.push("v1.1.0", tag=tag, overlay=tmp_path)
    failed = fail(operator, tag, step="smoke")
    assert f"{tag} failed its smoke test" in failed.run.message
    assert "GET /readyz: expected 200, got 503" in failed.run.message
    assert "no badge printer" in failed.run.message
    assert "GET /healthz" not in failed.run.message, "what passed is not what failed"
    assert any(line.startswith("GET /healthz: PASS, expected 200, got 200") for line in failed.log)
    assert running(operator, candidate) == (0, 0)
    body = {"artifacts": {"flow_run_id": {"any_": [failed.run.id]}, "key": {"any_": ["smoke-sandbox"]}}}
    (artifact,) = operator.api.post("/artifacts/filter", json=body).raise_for_status().json()
    assert '"check": "GET /readyz", "verdict": "FAIL", "expected": "200", "got": "503' in artifact["data"]


def test_a_release_after_all_of_it_goes_through(operator: Operator, live: Live) -> None:
    tag = operator.next_tag()
    operator.push("v1.1.0", tag=tag)
    release(operator, tag)
    assert operator.answering(operator.settings.ports.production)["version"] == tag
    assert operator.record().last_failure is None


def test_no_failed_run_logged_more_than_its_one_message(operator: Operator) -> None:
    for run in SEEN:
        assert "Traceback" not in "\n".join([run.message, *operator.log(run.id)]), run.name
        assert errors(operator, run.id) == [run.message]


def _forget_failed_migration(operator: Operator, name: str) -> None:
    """What `prisma migrate resolve --rolled-back` does, so that the next release can migrate."""
    with psycopg.connect(operator.sandbox.environment()["POINTSMAN_SANDBOX_DATABASE_URL"]) as connection:
        rows = connection.execute(
            'DELETE FROM "_prisma_migrations" WHERE migration_name = %s RETURNING finished_at', [name]
        ).fetchall()
    assert rows == [(None,)], "the migration stands there as failed"
