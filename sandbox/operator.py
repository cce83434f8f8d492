"""What an operator does, by the same doors: tags pushed, deliveries signed, deployments run, runs watched."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
import psycopg

from core.errors import Permanent
from core.history import VersionRecord
from core.record import EnvironmentRecord
from core.settings import parse_settings
from sandbox import github
from sandbox.application import repository
from sandbox.environment_file import folder, with_values
from sandbox.example import Example
from sandbox.kept_secrets import prefect_headers
from sandbox.parts import Sandbox
from sandbox.repository import publish_version

__all__ = ["Operator", "Run", "fault"]

STAGE = "sandbox"
_TAG = re.compile(r"v(\d+)\.(\d+)\.\d+$")
_STEP = re.compile(r"^[a-z][a-z ]*: .*\(\d+\.\d s\)$")


@dataclass(frozen=True)
class Run:
    """A flow run as Prefect's server tells it."""

    id: str
    name: str
    state: str
    type: str
    message: str
    seconds: float

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.type in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


def fault(effect: str, service: str = "", action: str = "", match: str = "", times: int = 0) -> dict[str, Any]:
    """Return a fault on calls to AWS (see `emulator.faults`); for ever unless told how often."""
    return {"effect": effect, "service": service, "action": action, "match": match, "times": times}


class Operator:
    """One operator of an environment of a sandbox: the first application's, or that of an example added to it."""

    def __init__(
        self, sandbox: Sandbox, say: Callable[[str], None] = lambda _line: None, example: Example | None = None
    ) -> None:
        self.sandbox, self._say, self._example = sandbox, say, example
        self.stage = example.name if example else STAGE
        with_ports = (folder(sandbox.settings) / f"{self.stage}.toml").read_text()
        self.settings = parse_settings(self.stage, with_ports)
        self.api = httpx.Client(base_url=f"{sandbox.settings.prefect_url}/api", timeout=30, trust_env=False)
        self.api.headers.update(prefect_headers(sandbox.settings))
        self._repository = example.repository(sandbox.settings) if example else repository(sandbox.settings)

    # --- doing

    def push(self, version: str, **options: Any) -> str:
        """Push a version's tag to the application's repository; return its commit.

        The tree keeps the migrations that the database has, as that of a branch which only goes forward does.
        """
        if self._example:
            return publish_version(self._repository, version, example=self._example.name, **options)
        return publish_version(self._repository, version, **{"keep": self.applied_migrations(), **options})

    def applied_migrations(self) -> list[str]:
        """Return the migrations that the application's database calls applied."""
        address = self.sandbox.environment()["POINTSMAN_SANDBOX_DATABASE_URL"]
        query = "SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL"
        with suppress(psycopg.errors.UndefinedTable), psycopg.connect(address) as connection:
            return [name for (name,) in connection.execute(query).fetchall()]
        return []

    def next_tag(self) -> str:
        """Return a tag above every version that was ever tagged here, and above v2."""
        bare = str(self._repository)
        listed = subprocess.run(["git", "--git-dir", bare, "tag", "--list"], capture_output=True, text=True, check=True)
        found = [(int(m[1]), int(m[2])) for m in map(_TAG.match, listed.stdout.split()) if m]
        major, minor = max([(2, 0), *found])
        return f"v{major}.{minor + 1}.0"

    def deliver(self, version: str, commit: str, **options: Any) -> str:
        """Deliver the signed webhook of a tag; return the id of the run that it made."""
        answer = github.deliver(
            f"{self.sandbox.settings.webhook_url}/webhooks/github",
            self.sandbox.webhook_secret(),
            repository=self.settings.source.github_repository,
            tag=version,
            commit=commit,
            **options,
        )
        if answer.status_code != 202:
            raise Permanent(f"The webhook answered {answer.status_code}", why=answer.text)
        return str(answer.json()["flow_run_id"])

    def run(self, flow: str, *, deployment: str | None = None, **parameters: Any) -> str:
        """Run a deployment, the environment's own by default, as `prefect deployment run` does; return the run's id."""
        found = self.api.get(f"/deployments/name/{flow}/{deployment or self.stage}").raise_for_status().json()
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        made = self.api.post(f"/deployments/{found['id']}/create_flow_run", json=body).raise_for_status()
        return str(made.json()["id"])

    def agree(self, run_id: str, **answer: str) -> None:
        """Answer what a paused run asks, as the form of its page does."""
        given = {"decision": "apply", "name": "Operator", "reason": "", **answer}
        answered = self.api.post(f"/flow_runs/{run_id}/resume", json={"run_input": given}).raise_for_status().json()
        if answered["status"] != "ACCEPT":
            raise Permanent(f"The answer to {run_id} was refused", why=str(answered.get("details")))

    def provision(self, *, timeout: float = 400.0) -> Run:
        """Provision, agreeing to each plan that is shown; return the run as it ended."""
        run_id = self.run("provision")
        while True:
            run = self.wait(run_id, timeout=timeout, until=lambda run: run.over or run.state == "Paused")
            if run.over:
                return run
            self._say(f"  agreeing to the plan: {self.page(run_id)}")
            self.agree(run_id)
            self.wait(run_id, until=lambda run: run.state != "Paused")

    def set_state(self, run_id: str, type_: str, name: str, *, force: bool) -> dict[str, Any]:
        """Set a run's state as UI and CLI do."""
        body = {"state": {"type": type_, "name": name}, "force": force}
        answer: dict[str, Any] = self.api.post(f"/flow_runs/{run_id}/set_state", json=body).raise_for_status().json()
        return answer

    # --- making it hard

    @contextmanager
    def with_faults(self, *faults: Mapping[str, Any]) -> Iterator[None]:
        """Disturb calls to AWS (see `emulator.faults`); at the end no fault is left, those of others included."""
        self._faults("POST", json=[dict(fault) for fault in faults])
        try:
            yield
        finally:
            self.clear_faults()

    def clear_faults(self) -> None:
        """Disturb no call to AWS any more."""
        self._faults("DELETE")

    def fault_hits(self) -> int:
        """Return how many calls the faults have met."""
        return sum(fault["hits"] for fault in self._faults("GET").json()["faults"])

    def _faults(self, method: str, **options: Any) -> httpx.Response:
        url = f"{self.sandbox.settings.aws_url}/_pointsman/faults"
        return httpx.request(method, url, timeout=5, trust_env=False, **options).raise_for_status()

    @contextmanager
    def with_settings(self, **changed: str) -> Iterator[None]:
        """Give the environment's settings other values (as TOML writes them), by the names of their lines."""
        path = folder(self.sandbox.settings) / f"{self.stage}.toml"
        before = path.read_text()
        path.write_text(with_values(before, changed))
        try:
            yield
        finally:
            path.write_text(before)

    # --- watching

    def look(self, run_id: str) -> Run:
        """Return what a run is doing."""
        run = self.api.get(f"/flow_runs/{run_id}").raise_for_status().json()
        state = run["state"] or {}
        return Run(
            id=run_id,
            name=run["name"],
            state=state.get("name", ""),
            type=state.get("type", ""),
            message=state.get("message") or "",
            seconds=run["total_run_time"],
        )

    def wait(self, run_id: str, *, timeout: float = 300.0, until: Callable[[Run], bool] | None = None) -> Run:
        """Return the run once it is over (or as `until` says), telling its steps as they come."""
        end = time.monotonic() + timeout
        told = 0
        done = until or (lambda run: run.over)
        over = False
        while True:
            run = self.look(run_id)
            if done(run) and not over:
                over = True
                time.sleep(0.4)  # the last lines arrive a moment after the state
            lines = self.log(run_id)
            for line in lines[told:]:
                if _STEP.match(line):
                    self._say(f"    {line}")
            told = len(lines)
            if done(run):
                return run
            if time.monotonic() > end:
                raise Permanent(f"Run {run.name} is still {run.state} after {timeout:g} s", do=self.page(run_id))
            time.sleep(0.25)

    def log(self, run_id: str) -> list[str]:
        """Return a run's log lines so far."""
        lines: list[str] = []
        while True:
            body = {
                "logs": {"flow_run_id": {"any_": [run_id]}},
                "sort": "TIMESTAMP_ASC",
                "limit": 200,
                "offset": len(lines),
            }
            page = self.api.post("/logs/filter", json=body).raise_for_status().json()
            lines += [entry["message"] for entry in page]
            if len(page) < 200:
                return lines

    def states(self, run_id: str) -> dict[str, str]:
        """Return when a run first was in each state, by name."""
        found = self.api.get("/flow_run_states/", params={"flow_run_id": run_id}).raise_for_status().json()
        return {state["name"]: state["timestamp"] for state in reversed(found)}

    def task_runs(self, run_id: str) -> list[tuple[str, str]]:
        """Return a run's tasks in the order in which they began, each with the type of its state."""
        body = {"flow_runs": {"id": {"any_": [run_id]}}, "limit": 200}
        found = self.api.post("/task_runs/filter", json=body).raise_for_status().json()
        return [(task["name"], task["state_type"]) for task in sorted(found, key=lambda task: task["start_time"] or "")]

    def page(self, run_id: str) -> str:
        """Return the address of a run's page in the UI."""
        return f"{self.sandbox.settings.prefect_url}/v2/runs/flow-run/{run_id}"

    # --- records and AWS, seen from outside

    def client(self, service: str) -> Any:
        """Return a boto3 client of the emulated AWS."""
        return boto3.client(
            service,
            endpoint_url=self.sandbox.settings.aws_url,
            region_name=self.settings.region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def record(self) -> EnvironmentRecord:
        """Return the environment's record as it lies in S3."""
        return EnvironmentRecord.model_validate_json(self._object("environment"))

    @property
    def live(self) -> str:
        """The live version, by the record."""
        found = self.record().live
        assert found is not None
        return found.release.version

    def history(self, version: str) -> VersionRecord:
        """Return a version's record as it lies in S3."""
        return VersionRecord.model_validate_json(self._object(version))

    def _object(self, name: str) -> bytes:
        key = f"releases/{self.stage}/{name}.json"
        body: bytes = self.client("s3").get_object(Bucket=self.settings.state_bucket, Key=key)["Body"].read()
        return body

    def weights(self) -> Mapping[str, int]:
        """Return the production listener's weights by colour."""
        infrastructure = self.record().infrastructure
        assert infrastructure is not None
        listener = self.client("elbv2").describe_listeners(ListenerArns=[infrastructure.production_listener_arn])
        groups = listener["Listeners"][0]["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
        weight = {group["TargetGroupArn"]: group["Weight"] for group in groups}
        return {colour.value: weight[arn] for colour, arn in infrastructure.target_group_arns.items()}

    def answering(self, port: int) -> dict[str, Any]:
        """Return what `/version` says on a listener."""
        answer = httpx.get(f"http://127.0.0.1:{port}/version", timeout=5, trust_env=False).raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    @property
    def application(self) -> str:
        """The production listener's address."""
        return f"http://127.0.0.1:{self.settings.ports.production}"
