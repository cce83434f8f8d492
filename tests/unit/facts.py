"""Facts for the tables: releases, owners and records, each with everything but what the rule is about filled in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from core.colour import Colour, Weights
from core.history import Attempt, SlotOutputs, State
from core.record import EnvironmentRecord, Frozen, Infrastructure, LeaseRecord, Live, Owner, QueuedRelease
from core.release import Configuration, Release
from core.settings import EnvironmentSettings, parse_settings

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
COMMIT = "c0ffee" * 6 + "c0ff"
DIGEST = "sha256:" + "ab" * 32
REPOSITORY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/shop"

BLUE_GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-test-blue/1"
GREEN_GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-test-green/2"
LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/shop-test/3/4"

INFRASTRUCTURE = Infrastructure(
    ecr_repository_url=REPOSITORY,
    alb_dns_name="shop-test.example.com",
    production_listener_arn=LISTENER,
    test_listener_arns={Colour.BLUE: f"{LISTENER}5", Colour.GREEN: f"{LISTENER}6"},
    target_group_arns={Colour.BLUE: BLUE_GROUP, Colour.GREEN: GREEN_GROUP},
    cluster_arn="arn:aws:ecs:eu-west-1:123456789012:cluster/team-shop-test",
    private_subnet_ids=("subnet-1", "subnet-2"),
    task_security_group_id="sg-1",
    execution_role_arn="arn:aws:iam::123456789012:role/team-shop-test-execution",
    task_role_arn="arn:aws:iam::123456789012:role/team-shop-test-task",
    log_group_name="team-shop-test",
)

NAMED = 'version_path = "/version"\n'
SETTINGS = f"""
region = "eu-west-1"
aws_account_number = "123456789012"
namespace = "team"
name = "shop"
stage = "test"
state_bucket = "team-shop-state"

[source]
url = "https://git.example.com/team/shop.git"
github_repository = "team/shop"

[service]
desired_count = 1

[traffic]
{NAMED}
[timing]
poll = 0.001
heartbeat = 3600
lease_expiry = 7200
vacate = 0.5
start = 0.5
consistency = 0.001
identify = 0.05
confirm = 0.05
weights_settle = 0.001
log_arrival = 0.5
log_quiet = 0.005
"""


def settings_with(more: str = "", **replaced: str) -> EnvironmentSettings:
    """Sound settings with `more` TOML at the end and each `name = …` of `replaced` written anew."""
    text = SETTINGS
    for name, value in replaced.items():
        old = next(line for line in text.splitlines() if line.startswith(f"{name} ="))
        text = text.replace(old, f"{name} = {value}")
    if "[traffic]\n" in more:  # the table may stand once
        text = text.replace(f"[traffic]\n{NAMED}", "")
        more = more if "version_path" in more else more.replace("[traffic]\n", f"[traffic]\n{NAMED}")
    return parse_settings("test", text + more)


def configuration(**facts: Any) -> Configuration:
    return Configuration(**{"container_port": 8080, "cpu": 256, "memory": 512, **facts})


def release(version: str, *, commit: str = COMMIT, digest: str = DIGEST, **configured: Any) -> Release:
    return Release(
        version=version, commit=commit, image=f"{REPOSITORY}@{digest}", configuration=configuration(**configured)
    )


def live(version: str, colour: Colour = Colour.BLUE, *, migrations: tuple[str, ...] = (), **configured: Any) -> Live:
    return Live(release=release(version, **configured), colour=colour, since=NOON, migrations=migrations)


def definition_of(of: Release) -> dict[str, Any]:
    """The task definition that a release's apply registers."""
    named = {"POINTSMAN_VERSION": of.version, "POINTSMAN_REVISION": of.revision}
    variables = [{"name": name, "value": value} for name, value in named.items()]
    return {"containerDefinitions": [{"image": of.image, "environment": variables}]}


def slot_of(arn: str, service: str = "shop-test-blue") -> SlotOutputs:
    """What an apply put out."""
    return SlotOutputs(service_name=service, task_definition_arn=arn, migration_task_definition_arn=f"{arn}-migration")


def owner(run: str = "run-1", *, attempt: str | None = None, flow: str = "release", pid: int = 100) -> Owner:
    return Owner(flow=flow, flow_run_id=run, attempt=attempt or f"{run}-1", host="boot", pid=pid, process_started="7")


def lease_of(
    whose: Owner, *, fencing_token: int = 1, version: str | None = "v1.1.0", left: float = 60, **facts: Any
) -> LeaseRecord:
    return LeaseRecord(
        owner=whose,
        fencing_token=fencing_token,
        version=version,
        acquired_at=NOON,
        renewed_at=NOON,
        expires_at=NOON + timedelta(seconds=left),
        **facts,
    )


def waiter(version: str, run: str, *, queued: float = 0, seen: float = 0) -> QueuedRelease:
    return QueuedRelease(
        version=version,
        flow_run_id=run,
        queued_at=NOON + timedelta(seconds=queued),
        seen_at=NOON + timedelta(seconds=seen),
    )


def environment(**facts: Any) -> EnvironmentRecord:
    return EnvironmentRecord(**{"environment": "test", "infrastructure": INFRASTRUCTURE, **facts})


def attempt(state: State = State.BUILDING, run: str = "run-1", **facts: Any) -> Attempt:
    return Attempt(**{"id": f"{run}-1", "flow_run_id": run, "started_at": NOON, "state": state, **facts})


FROZEN = Frozen(
    reason="the production listener carries blue 50, green 50",
    observed=Weights(blue=50, green=50),
    expected=Weights.all_on(Colour.BLUE),
    at=NOON,
)
