"""On a real server of Prefect's: an environment's deployments, and the runs that the reconciler asks for."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Running, Scheduled

from deploy.environment import deploy
from reconciler.runs import Runs
from systems.prefect_api import attempt_id
from systems.processes import owner_of

pytestmark = pytest.mark.integration

CODE = Path(__file__).parents[2]
FLOWS = (
    "destroy",
    "drift",
    "preflight",
    "provision",
    "release",
    "restore-state",
    "retire",
    "rollback",
    "status",
    "unfreeze",
)
GONE = 2**22 + 1  # above the kernel's highest pid


@dataclass
class Server:
    """One server, and the variables of whoever uses it."""

    url: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]


def start(port: int, home: Path) -> Server:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {
        **kept,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(CODE),
    }
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = environment["PREFECT_API_URL"]
    assert wait_for(lambda: answers(f"{url}/health"), 90.0), (home / "server.log").read_text()[-2_000:]
    return Server(url, environment, process)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=2).is_success
    except httpx.HTTPError:
        return False


def wait_for(seen: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    made = start(port, home)
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patched.delenv(name)
        for name in ("PREFECT_HOME", "PREFECT_API_URL", "PYTHONPATH"):
            patched.setenv(name, made.environment[name])
        with temporary_settings(updates={PREFECT_API_URL: made.url, PREFECT_HOME: home}):
            yield made
    stop(made.process)


@pytest.fixture
def client(server: Server) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as made:
        yield made


@pytest.fixture(scope="module")
def pool(server: Server) -> None:
    template = json.loads((CODE / "deploy" / "work-pool.json").read_text())
    body = {"name": "pointsman", "type": "process", "base_job_template": template}
    httpx.post(f"{server.url}/work_pools/", json=body, trust_env=False).raise_for_status()


def write_environment(folder: Path, name: str, **facts: str) -> None:
    text = (CODE / "environments" / "production.toml").read_text().replace('stage = "production"', f'stage = "{name}"')
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.toml").write_text("".join(f"{k} = {v}\n" for k, v in facts.items()) + text)


# --- deployments: these come before there is a work pool, and then with it


def test_an_environment_without_a_file_is_refused_in_one_sentence(server: Server) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "flows", "deploy", "moon"],
        env=server.environment, cwd=CODE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr.splitlines() == [
        "The environment 'moon' does not exist: environments/ has: production, sandbox. "
        "Name one of these, or add its file."
    ]
    assert told.stdout == ""


def test_without_a_work_pool_it_says_how_to_make_one(server: Server) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "flows", "deploy", "sandbox"],
        env=server.environment, cwd=CODE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1
    assert "Prefect has no work pool 'pointsman'" in told.stderr
    assert "prefect work-pool create pointsman" in told.stderr


@pytest.fixture(scope="module")
def deployed(pool: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[str]]]:
    """What the command says of an environment of which there is nothing but its file, and when it is given again."""
    folder = tmp_path_factory.mktemp("environments")
    write_environment(folder, "moon")
    write_environment(folder, "mars", retire_on_schedule="false", drift_on_schedule="false")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("POINTSMAN_ENVIRONMENTS", str(folder))
        yield [deploy("moon"), deploy("moon"), deploy("mars")]


def test_one_file_and_one_command_make_an_environment(deployed: list[list[str]], client: SyncPrefectClient) -> None:
    assert deployed[0] == [f"{flow}/moon: made" for flow in FLOWS]
    for flow in FLOWS:
        made = client.read_deployment_by_name(f"{flow}/moon")
        assert (made.parameters, made.tags, made.work_pool_name) == ({"environment": "moon"}, ["moon"], "pointsman")
        assert made.pull_steps == [
            {"prefect.deployments.steps.set_working_directory": {"directory": str(CODE)}},
        ]


def test_a_second_time_nothing_changes(deployed: list[list[str]]) -> None:
    assert deployed[1] == [f"{flow}/moon: unchanged" for flow in FLOWS]


@pytest.mark.parametrize(("environment", "active"), [("moon", True), ("mars", False)])
def test_what_runs_on_schedule_does_where_the_file_says_so(
    deployed: list[list[str]], client: SyncPrefectClient, environment: str, active: bool
) -> None:
    scheduled = {"retire": "*/15 * * * *", "drift": "7 * * * *"}
    for flow, cron in scheduled.items():
        schedules = client.read_deployment_by_name(f"{flow}/{environment}").schedules
        assert [(s.active, s.schedule.model_dump()["cron"]) for s in schedules] == [(active, cron)]
    others = set(FLOWS) - scheduled.keys()
    assert all(not client.read_deployment_by_name(f"{f}/{environment}").schedules for f in others)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_run_cannot_name_another_environment(deployed: list[list[str]], client: SyncPrefectClient, flow: str) -> None:
    made = client.read_deployment_by_name(f"{flow}/moon")
    needed = {"release": {"tag": "v1.0.0"}, "unfreeze": {"keep": "blue"}, "restore-state": {"state": "blue"}}.get(
        flow, {}
    )
    with pytest.raises(PrefectHTTPStatusError, match="'mars' is not one of"):
        client.create_flow_run_from_deployment(made.id, parameters={**needed, "environment": "mars"})
    run = client.create_flow_run_from_deployment(made.id, parameters=needed)
    assert run.parameters["environment"] == "moon"


def test_what_is_not_ours_is_left_alone(deployed: list[list[str]], client: SyncPrefectClient) -> None:
    stranger = client.create_flow_from_name("stranger")
    client.create_deployment(flow_id=stranger, name="mars", work_pool_name="pointsman")
    assert "stranger/mars: left alone, prefect.yaml has no such deployment" in deploy("mars")


# --- the reconciler's runs


@dataclass
class Asked:
    """The reconciler's way to its runs, what Prefect has of them, and what ran in this process instead."""

    client: SyncPrefectClient
    deployment: UUID
    runs: Runs
    here: list[str] = field(default_factory=list)

    def start(self) -> list[FlowRun]:
        """Ask, and return all runs that there are then."""
        self.runs.start()
        found = self.client.read_flow_runs()
        return [run for run in found if run.deployment_id == self.deployment]


@pytest.fixture
def asked(client: SyncPrefectClient, request: pytest.FixtureRequest) -> Asked:
    """A deployment of `reconcile` that no process serves."""
    name = f"env-{abs(hash(request.node.name)) % 10**8}"
    deployment = client.create_deployment(flow_id=client.create_flow_from_name("reconcile"), name=name)
    here: list[str] = []
    return Asked(client, deployment, Runs(name, here.append), here)


def test_what_it_asks_for_is_a_run_of_the_deployment(asked: Asked) -> None:
    (run,) = asked.start()
    assert run.state is not None
    assert run.state.is_scheduled()
    assert run.tags == [asked.runs.environment]
    assert asked.here == []


def test_a_second_is_not_asked_for_while_one_is_about_to_start(asked: Asked) -> None:
    asked.start()
    assert len(asked.start()) == 1
    assert asked.here == []


def begin(asked: Asked, *, pid: int | None) -> None:
    """One run is under way, whose process said who it is, or did not yet."""
    run = asked.client.create_flow_run_from_deployment(asked.deployment)
    asked.client.set_flow_run_state(run.id, Running(), force=True)
    if pid is not None:
        owner = owner_of("reconcile", str(run.id), attempt_id(str(run.id), run.run_count))
        owner = owner if pid == owner.pid else owner.model_copy(update={"pid": pid})
        asked.client.update_flow_run_labels(run.id, {"pointsman.owner": owner.model_dump_json()})


@pytest.mark.parametrize(
    ("rule", "pid", "patience", "runs"),
    [
        pytest.param("its process works", os.getpid(), 0.0, 1, id="its process works"),
        ("its process is gone, whatever Prefect believes", GONE, 0.0, 2),
        ("it never said who it is", None, 0.0, 2),
        ("it may still say who it is", None, 600.0, 1),
    ],
)
def test_one_run_at_a_time(asked: Asked, rule: str, pid: int | None, patience: float, runs: int) -> None:
    begin(asked, pid=pid)
    asked.runs = Runs(asked.runs.environment, asked.here.append, introduces_within=patience)
    assert len(asked.start()) == runs, rule
    assert asked.here == []


def test_runs_of_the_schedule_that_are_to_come_hinder_nothing(asked: Asked) -> None:
    later = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(minutes=5))
    asked.client.create_flow_run_from_deployment(asked.deployment, state=later)
    assert len(asked.start()) == 2


def test_a_run_that_nobody_starts_is_done_here(asked: Asked) -> None:
    asked.runs = Runs(asked.runs.environment, asked.here.append, starts_within=0.0)
    (run,) = asked.start()
    assert asked.here == []
    (same,) = asked.start()
    assert same.id == run.id, "no second one is asked for"
    assert asked.here == [asked.runs.environment]


def test_without_a_deployment_it_is_done_here(server: Server) -> None:
    here: list[str] = []
    Runs("nowhere", here.append).start()
    assert here == ["nowhere"]


def test_without_a_server_it_is_done_here() -> None:
    here: list[str] = []
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/api"
        with temporary_settings(updates={PREFECT_API_URL: url}):
            Runs("nowhere", here.append).start()
    assert here == ["nowhere"]


# --- the process itself


def test_its_process_serves_its_deployment_and_needs_no_worker(server: Server, tmp_path: Path) -> None:
    write_environment(tmp_path, "moon")
    environment = {
        **server.environment, "POINTSMAN_ENVIRONMENTS": str(tmp_path), "POINTSMAN_ENVIRONMENT": "moon",
    }  # fmt: skip
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "reconciler"], env=environment, cwd=CODE, stdout=file, stderr=file
        )
    try:
        with get_client(sync_client=True) as client:
            name = f"{server.url}/deployments/name/reconcile/moon"
            assert wait_for(lambda: answers(name), 60.0), log.read_text()
            here: list[str] = []
            Runs("moon", here.append).start()
            deployment = client.read_deployment_by_name("reconcile/moon")

            def ended() -> list[FlowRun]:
                found = [run for run in client.read_flow_runs() if run.deployment_id == deployment.id]
                return [run for run in found if run.state is not None and run.state.is_final()]

            assert wait_for(ended, 60.0), log.read_text()
            (run,) = ended()
            assert run.name == "reconcile moon"
            assert run.state is not None
            assert "The block of environment 'moon' is missing" in str(run.state.message)  # it got that far
            assert here == []
            with pytest.raises(PrefectHTTPStatusError, match="'mars' is not one of"):
                client.create_flow_run_from_deployment(deployment.id, parameters={"environment": "mars"})
    finally:
        stop(process)
