"""What can be seen of an environment from outside, and whether it is settled, without asking Pointsman's own code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from botocore.exceptions import ClientError

from core.colour import Colour
from core.record import EnvironmentRecord
from sandbox.operator import STAGE, Operator

__all__ = ["Observation", "Observer"]


@dataclass(frozen=True)
class Observation:
    """One look at everything."""

    weights: dict[str, int]
    answering: dict[str, Any]
    running: dict[str, list[str]]
    record: EnvironmentRecord
    locks: list[str]
    migrations: list[str]
    failed_migrations: list[str]


class Observer:
    """Looks at the load balancer, the containers, the database, the record and the state's locks."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator

    def look(self) -> Observation:
        """Return what is there now."""
        finished, failed = self._migrations()
        return Observation(
            weights=dict(self.operator.weights()),
            answering=self.operator.answering(self.operator.settings.ports.production),
            running={colour.value: self.images(colour) for colour in Colour},
            record=self.operator.record(),
            locks=self.locks(),
            migrations=finished,
            failed_migrations=failed,
        )

    def images(self, colour: Colour) -> list[str]:
        """Return the image of each task that runs in a slot."""
        ecs, settings = self.operator.client("ecs"), self.operator.settings
        try:
            arns = ecs.list_tasks(cluster=settings.cluster, serviceName=settings.service_name(colour))["taskArns"]
        except ClientError:
            return []
        if not arns:
            return []
        tasks = ecs.describe_tasks(cluster=settings.cluster, tasks=arns)["tasks"]
        return [task["containers"][0]["image"] for task in tasks if task["lastStatus"] != "STOPPED"]

    def one_offs(self) -> list[str]:
        """Return the migration tasks that have not stopped."""
        ecs, settings = self.operator.client("ecs"), self.operator.settings
        arns = ecs.list_tasks(cluster=settings.cluster)["taskArns"]
        tasks = ecs.describe_tasks(cluster=settings.cluster, tasks=arns)["tasks"] if arns else []
        return [t["taskArn"] for t in tasks if not t.get("group", "").startswith("service:")]

    def locks(self) -> list[str]:
        """Return the keys of Terraform state locks."""
        s3 = self.operator.client("s3")
        listed = s3.list_objects_v2(Bucket=self.operator.settings.state_bucket, Prefix=f"terraform/{STAGE}/")
        return [o["Key"] for o in listed.get("Contents", []) if o["Key"].endswith(".tflock")]

    def _migrations(self) -> tuple[list[str], list[str]]:
        url = self.operator.sandbox.environment()["POINTSMAN_SANDBOX_DATABASE_URL"]
        with psycopg.connect(url) as connection:
            rows = connection.execute(
                "select migration_name, finished_at is not null from _prisma_migrations"
                " where rolled_back_at is null order by started_at"
            ).fetchall()
        return [name for name, done in rows if done], [name for name, done in rows if not done]

    def faults(self, before: Observation, *, live: str) -> list[str]:
        """Return what is wrong with an environment that must be settled with `live` carrying all traffic."""
        now = self.look()
        record, wrong = now.record, []
        if record.live is None or record.live.release.version != live:
            wrong.append(f"live is {record.live and record.live.release.version} and not {live}")
            return wrong
        colour = record.live.colour
        if now.weights != {colour.value: 100, colour.other.value: 0}:
            wrong.append(f"weights are {now.weights}, live is {colour}")
        if now.answering.get("version") != live or now.answering.get("revision") != record.live.release.revision:
            wrong.append(f"the production listener answers {now.answering}")
        if set(now.running[colour.value]) != {record.live.release.image}:
            wrong.append(f"{colour} runs {now.running[colour.value]}")
        known = {h.release.image for h in record.healthy}
        if not set(now.running[colour.other.value]) <= known:
            wrong.append(f"{colour.other} runs {now.running[colour.other.value]}, which never was healthy")
        if record.lease is not None:
            wrong.append(f"held by {record.lease.owner.flow} at {record.lease.step}")
        if now.locks:
            wrong.append(f"state locks {now.locks}")
        if self.one_offs():
            wrong.append("a migration task still runs")
        if not set(before.migrations) <= set(now.migrations):
            wrong.append("applied migrations are gone")
        for version in {h.release.version for h in (*record.healthy, record.live)}:
            history = self.operator.history(version)
            if history.state is None or not history.state.ended:
                wrong.append(f"the record of {version} stands at {history.state}")
        return wrong
