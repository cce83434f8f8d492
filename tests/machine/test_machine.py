"""The machine that releases: built here, its processes in containers, a tag by webhook to live traffic and back.

In the order of the file: what the parts are, a release and a rollback, kills, a backup and its restore, an upgrade.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import Any

import docker
import httpx
import pytest

from core.history import State
from sandbox.github import push_payload, send
from sandbox.kept_secrets import kept_secret, prefect_headers
from sandbox.machine import PARTS, Machine
from sandbox.operator import Operator
from sandbox.settings import CODE
from sandbox.traffic import Client
from systems.process_table import carrying
from systems.processes import ATTEMPT_VARIABLE
from tests.chaos.scene import Expected, Scene, fresh, process_of
from tests.machine.conftest import release
from tests.waiting import wait_for

pytestmark = pytest.mark.machine

# A heartbeat that stops is believed after this long; what is settled sooner was proven dead.
LONG_EXPIRY, AT_ONCE = 120.0, 40.0


def inspect(machine: Machine, part: str) -> dict[str, Any]:
    client = docker.from_env()
    try:
        found: dict[str, Any] = client.api.inspect_container(machine.container(part))
        return found
    finally:
        client.close()


def inside(machine: Machine, part: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a part's container."""
    return subprocess.run(
        ["docker", "exec", machine.container(part), *command], capture_output=True, text=True, check=False
    )


def note(machine: Machine, what: str, seconds: float) -> None:
    """Keep a figure in `.sandbox/machine/figures.json`."""
    file = machine.folder / "figures.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, what: round(seconds, 1)}, indent=1) + "\n")


# --- the parts


def test_each_part_is_healthy_and_its_state_is_told(machine: Machine) -> None:
    told = dict(line.split() for line in machine.script("status").splitlines())
    assert told == dict.fromkeys(PARTS, "healthy")


def test_our_processes_run_as_a_user_of_their_own(machine: Machine) -> None:
    for part in ("server", "worker", "reconciler", "receiver"):
        assert inside(machine, part, "id", "-u").stdout.strip() == "10001"
        assert inside(machine, part, "touch", "/srv/pointsman/flows/release.py").returncode != 0


def test_only_the_worker_reaches_the_docker_engine(machine: Machine) -> None:
    reach = ["docker", "version", "--format", "{{.Server.Version}}"]
    assert {part: inside(machine, part, *reach).returncode == 0 for part in ("worker", "reconciler", "receiver")} == {
        "worker": True,
        "reconciler": False,
        "receiver": False,
    }


def test_the_worker_has_what_a_release_needs(machine: Machine) -> None:
    for command in ("terraform version", "git --version", "git lfs version", "docker buildx version"):
        done = inside(machine, "worker", *command.split())
        assert done.returncode == 0, done.stderr
    # The provider lies where `terraform init` looks before it asks a registry, and has the locked hashes.
    init = (
        'cd "$(mktemp -d)" && cp -r /srv/pointsman/terraform/slot/. . && '
        "terraform init -backend=false -input=false -lockfile=readonly -no-color"
    )
    done = inside(machine, "worker", "sh", "-c", init)
    assert done.returncode == 0, done.stderr
    assert "unauthenticated" in done.stdout or "Installed hashicorp/aws" in done.stdout


def test_no_secret_is_in_the_image_or_in_what_inspect_shows(machine: Machine) -> None:
    settings = machine.sandbox.settings
    secrets = [kept_secret(settings, "prefect-password"), kept_secret(settings, "webhook-secret")]
    secrets.append((machine.folder / "secrets" / "database-password").read_text().strip())
    client = docker.from_env()
    try:
        image = inspect(machine, "worker")["Image"]
        seen = json.dumps([client.api.inspect_image(image), client.api.history(image)])
    finally:
        client.close()
    seen += json.dumps([inspect(machine, part) for part in PARTS])
    assert not [secret for secret in secrets if secret in seen]
    lines = (CODE / ".dockerignore").read_text().splitlines()
    sent = {line[1:].split("/")[0] for line in lines if line.startswith("!")}
    assert set(inside(machine, "worker", "ls", "/srv/pointsman").stdout.split()) == sent


def test_secrets_are_readable_by_their_owner_alone(machine: Machine) -> None:
    for file in (machine.folder / "secrets").iterdir():
        status = file.stat()
        assert (status.st_uid, status.st_mode & 0o777) == (10001, 0o400)


# --- who reaches what


def test_a_delivery_without_a_signature_is_refused_by_the_receiver(machine: Machine) -> None:
    with httpx.Client(verify=machine.trust(), trust_env=False) as client:
        answer = client.post(f"{machine.url}/webhooks/github", json={})
    assert answer.status_code == 401


def test_a_ping_goes_through(machine: Machine) -> None:
    payload = push_payload(repository="cursive-team/connections", tag="v0.0.1", commit="a" * 40)
    hook = {
        "zen": "Design for failure.",
        "hook_id": 1,
        "hook": {"events": ["push"]},
        "repository": payload["repository"],
    }
    secret = machine.sandbox.webhook_secret()
    answer = send(f"{machine.url}/webhooks/github", secret, "ping", hook, trust=machine.trust())
    assert (answer.status_code, answer.json()["status"]) == (200, "pong")


@pytest.mark.parametrize(("path", "status"), [("/webhooks/github", 404), ("/webhooks/other", 404), ("/", 200)])
def test_an_operator_reaches_prefect_and_no_other_path_of_the_receiver(
    machine: Machine, path: str, status: int
) -> None:
    assert machine.ask(path, follow_redirects=True).status_code == status


def test_prefects_api_asks_for_its_password(machine: Machine) -> None:
    assert machine.ask("/api/admin/settings").status_code == 401
    known = machine.ask("/api/admin/settings", headers=prefect_headers(machine.sandbox.settings))
    assert known.status_code == 200


def test_who_is_no_operator_reaches_the_receiver_alone(machine: Machine) -> None:
    """The proxy, with ranges that none of our addresses is in."""
    other = ["-e", "POINTSMAN_OPERATOR_RANGES=192.0.2.0/24", "--publish", f"127.0.0.1:{machine.https_port + 1}:443"]
    name = f"{machine.project}-other"
    machine.compose("run", "--detach", "--name", name, "--no-deps", *other, "proxy")
    try:
        with httpx.Client(
            base_url=f"https://localhost:{machine.https_port + 1}", verify=False, trust_env=False
        ) as client:
            wait_for(lambda: _status(client, "GET", "/") is not None, 20, "the other proxy did not start")
            seen = {path: _status(client, "GET", path) for path in ("/", "/api/health", "/api/admin/settings")}
            delivered = _status(client, "POST", "/webhooks/github")
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=True)
    assert set(seen.values()) == {404}
    assert delivered == 401


def _status(client: httpx.Client, method: str, path: str) -> int | None:
    try:
        return client.request(method, path).status_code
    except httpx.TransportError:
        return None


_REACH = """
import urllib.request, urllib.error, sys
def ask(url, method="GET"):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=4).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return type(error).__name__
for line in sys.argv[1:]:
    method, url = line.split(" ")
    print(ask(url, method))
"""


def test_the_receiver_reaches_two_calls_of_prefects_and_no_server(machine: Machine) -> None:
    asked = [
        "GET http://proxy:4201/api/deployments/name/release/sandbox",
        "GET http://proxy:4201/api/deployments/name/provision/sandbox",
        "POST http://proxy:4201/api/block_documents/filter",
        "GET http://server:4200/api/health",
        "GET http://db:5432/",
    ]
    told = inside(machine, "receiver", "python", "-c", _REACH, *asked).stdout.split()
    assert told[:3] == ["200", "403", "403"]
    assert set(told[3:]) == {"URLError"}
    secret = inside(machine, "receiver", "sh", "-c", "ls /run/secrets; env").stdout
    assert "webhook-secrets" in secret
    assert "prefect-auth" not in secret
    assert "PREFECT_API_AUTH_STRING" not in secret


# --- a tag to live traffic and back


def test_a_tag_goes_live_by_webhook_and_back(machine: Machine, operator: Operator, client: Client) -> None:
    before, tag = operator.live, operator.next_tag()
    release(machine, operator, "v1.1.0", tag)
    assert operator.live == tag
    assert operator.answering(operator.settings.ports.production)["version"] == tag
    assert operator.history(tag).state is State.HEALTHY
    run = operator.wait(operator.run("rollback"))
    assert run.type == "COMPLETED", run.message
    assert "warm" in run.message
    assert operator.live == before
    wait_for(lambda: client.seen().versions[before] > 0, 10, "no request was answered by the version before")


# --- deaths


def test_a_killed_run_is_taken_over_at_once_from_the_other_container(machine: Machine, scene: Scene) -> None:
    """Its Terraform still works in the worker's container when the reconciler's proves it dead, and ends it."""
    tag = fresh()
    with scene.operator.with_settings(lease_expiry=str(LONG_EXPIRY)):
        run_id = scene.release(tag)
        with scene.at("apply", run_id, tag):
            os.kill(process_of(run_id), signal.SIGKILL)
        killed = time.monotonic()
        scene.await_settled(AT_ONCE)
        note(machine, "settled after kill -9 of the run", time.monotonic() - killed)
        scene.check(Expected(scene.was, ("CRASHED",), (State.FAILED,), within=AT_ONCE), run_id, tag)
    assert not carrying({ATTEMPT_VARIABLE: f"{run_id}-1"})


def test_a_run_whose_container_was_killed_is_dead_at_once(machine: Machine, scene: Scene) -> None:
    tag = fresh()
    with scene.operator.with_settings(lease_expiry=str(LONG_EXPIRY)):
        run_id = scene.release(tag)
        with scene.at("apply", run_id, tag):
            subprocess.run(["docker", "restart", "--time", "0", machine.container("worker")], check=True)
        killed = time.monotonic()
        scene.await_settled(AT_ONCE)
        note(machine, "settled after the worker's container was killed", time.monotonic() - killed)
        scene.check(Expected(scene.was, ("CRASHED",), (State.FAILED,), within=AT_ONCE), run_id, tag)
    assert not carrying({ATTEMPT_VARIABLE: f"{run_id}-1"})
    wait_for(lambda: inspect(machine, "worker")["State"]["Health"]["Status"] == "healthy", 60, "no worker")


def test_a_killed_process_is_started_again(machine: Machine) -> None:
    for part in ("reconciler", "receiver"):
        before = inspect(machine, part)["State"]["Pid"]
        os.kill(before, signal.SIGKILL)
        wait_for(lambda part=part, before=before: _healthy_anew(machine, part, before), 90, f"no {part}")  # type: ignore[misc]


def _healthy_anew(machine: Machine, part: str, before: int) -> bool:
    state = inspect(machine, part)["State"]
    return bool(state["Pid"] not in (0, before) and state["Health"]["Status"] == "healthy")


# --- upkeep


def test_a_restored_database_has_the_runs_and_blocks_of_the_backup(machine: Machine, operator: Operator) -> None:
    def runs() -> int:
        return int(operator.api.post("/flow_runs/count", json={}).raise_for_status().json())

    kept, name = machine.folder / "kept.dump", f"kept_{time.time():.0f}"
    operator.api.post("/variables/", json={"name": name, "value": "before"}).raise_for_status()
    machine.script("backup", str(kept))
    assert kept.stat().st_mode & 0o077 == 0
    counted = runs()
    operator.api.delete(f"/variables/name/{name}").raise_for_status()
    machine.script("restore", str(kept))
    assert operator.api.get(f"/variables/name/{name}").json()["value"] == "before"
    assert runs() >= counted > 0
    block = operator.api.get("/block_types/slug/release-environment/block_documents/name/pointsman-sandbox")
    assert block.status_code == 200


def test_what_is_no_dump_is_not_restored(machine: Machine, operator: Operator) -> None:
    file = machine.folder / "broken.dump"
    file.write_bytes(b"PGDMP nothing more")
    with pytest.raises(Exception, match="is not a dump that pg_restore can read; nothing was changed"):
        machine.script("restore", str(file))
    assert operator.api.get("/health").status_code == 200


def test_an_upgrade_waits_for_the_release_in_flight(machine: Machine, operator: Operator, client: Client) -> None:
    tag = operator.next_tag()
    commit = operator.push("v1.1.0", tag=tag)
    worker = inspect(machine, "worker")["Id"]
    run_id = machine.deliver(tag, commit, repository=operator.settings.source.github_repository)
    operator.wait(run_id, until=lambda run: run.type == "RUNNING")
    # Something in the image is another, so that there is something to upgrade to.
    stamp = CODE / "deploy" / "machine" / "upgrade-of-a-test"
    stamp.write_text(tag)
    try:
        done = subprocess.run(
            [str(CODE / "scripts" / "machine"), "upgrade"],
            env=machine.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        stamp.unlink()
    assert done.returncode == 0, done.stderr[-2_000:]
    run = operator.look(run_id)
    assert (run.type, operator.live) == ("COMPLETED", tag), run.message
    assert inspect(machine, "worker")["Id"] != worker
    assert f"waiting for {run.name}" in done.stdout
    assert not operator.api.get("/work_pools/pointsman").json()["is_paused"]
    # The new parts release as the old ones did.
    back = operator.wait(operator.run("rollback"))
    assert back.type == "COMPLETED", back.message
