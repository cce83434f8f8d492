"""On a real server of Prefect's: what a machine makes when it starts, and how it waits for what is in flight."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Completed, Paused, Pending, Running, Suspended

from blocks.environment import load_environment
from core.errors import Refused, Transient
from deploy.machine import RUNS_AT_ONCE, drain, in_flight, resume, set_up
from tests.integration import test_prefect_server
from tests.integration.test_prefect_server import Server, write_environment

pytestmark = pytest.mark.integration

server, client = test_prefect_server.server, test_prefect_server.client
PRESENT, FORMER = "p" * 32, "f" * 32


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("secrets") / "webhook-secrets"
    file.write_text(f"{PRESENT}\n{FORMER}\n")
    return file


@pytest.fixture(scope="module")
def made(server: Server, secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[str]]]:
    """What is said the first time, and again."""
    folder = tmp_path_factory.mktemp("environments")
    write_environment(folder, "moon")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("POINTSMAN_ENVIRONMENTS", str(folder))
        said: list[list[str]] = [[], []]
        set_up("moon", said[0].append, webhook_secrets=secrets)
        set_up("moon", said[1].append, webhook_secrets=secrets)
        yield said


def run(client: SyncPrefectClient, name: str, state: object) -> UUID:
    deployment = client.read_deployment_by_name("release/moon").id
    made = client.create_flow_run_from_deployment(deployment, parameters={"tag": "v1.0.0"}, name=name)
    client.set_flow_run_state(made.id, state, force=True)  # type: ignore[arg-type]
    return made.id


@pytest.fixture
def pool_runs(client: SyncPrefectClient) -> Iterator[None]:
    yield
    resume()


def test_blocks_pool_and_deployments_are_made(made: list[list[str]], client: SyncPrefectClient) -> None:
    assert "work pool pointsman: made" in made[0]
    assert "release/moon: made" in made[0]
    pool = client.read_work_pool("pointsman")
    assert (pool.type, pool.concurrency_limit, pool.base_job_template["variables"]["additionalProperties"]) == (
        "process",
        RUNS_AT_ONCE,
        False,
    )
    block = load_environment("moon")
    kept = (block.webhook_secret, block.previous_webhook_secret)
    assert [str(secret.get()) for secret in kept if isinstance(secret, Secret)] == [PRESENT, FORMER]


def test_a_second_time_nothing_changes(made: list[list[str]]) -> None:
    assert "work pool pointsman: exists, with this template" in made[1]
    assert {line.rpartition(": ")[2] for line in made[1]} == {"exists, with this template", "unchanged"}


def test_secrets_that_cannot_be_read_are_refused_by_name(server: Server, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"The file of webhook secrets .*missing cannot be read"):
        set_up("moon", print, webhook_secrets=tmp_path / "missing")


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        (Running(), True),
        (Pending(), True),
        (Paused(timeout_seconds=60), True),
        (Suspended(timeout_seconds=60), False),
        (None, False),
    ],
)
def test_in_flight_is_what_has_a_process(
    made: list[list[str]], client: SyncPrefectClient, state: object, counts: bool
) -> None:
    known = run(client, "the run", state) if state is not None else None
    try:
        assert in_flight(client) == (("the run",) if counts else ())
    finally:
        if known:
            client.set_flow_run_state(known, Completed(), force=True)


def test_a_drained_pool_waits_for_the_run_that_works(
    made: list[list[str]], client: SyncPrefectClient, pool_runs: None
) -> None:
    known = run(client, "v1.0.0 → moon", Running())
    said: list[str] = []
    ended: list[float] = []

    def end() -> None:
        time.sleep(2)
        assert client.read_work_pool("pointsman").is_paused
        ended.append(time.monotonic())
        client.set_flow_run_state(known, Completed(), force=True)

    ending = threading.Thread(target=end)
    ending.start()
    drain(said.append, timeout=60, quiet=1)
    ending.join()
    assert ended
    assert time.monotonic() > ended[0]
    assert said == ["waiting for v1.0.0 → moon"]
    assert client.read_work_pool("pointsman").is_paused


def test_a_run_that_does_not_end_ends_the_waiting_and_runs_start_again(
    made: list[list[str]], client: SyncPrefectClient, pool_runs: None
) -> None:
    known = run(client, "v9.0.0 → moon", Running())
    try:
        with pytest.raises(Transient, match=r"v9\.0\.0 → moon did not end within 1 s"):
            drain(lambda _line: None, timeout=1, quiet=1)
        assert not client.read_work_pool("pointsman").is_paused
    finally:
        client.set_flow_run_state(known, Completed(), force=True)
