"""What `compose.yaml` promises of the machine that releases, and how its processes get their secrets."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from blocks.environment import PROJECT

SERVICES: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]
LASTING = sorted(set(SERVICES) - {"setup"})
OURS = ("server", "setup", "worker", "reconciler", "receiver")
CADDYFILE = (PROJECT / "deploy" / "machine" / "Caddyfile").read_text()
ENTRYPOINT = PROJECT / "deploy" / "machine" / "entrypoint"


def networks(service: str) -> set[str]:
    return set(SERVICES[service].get("networks", []))


def mounts(service: str) -> str:
    return " ".join(map(str, SERVICES[service].get("volumes", [])))


def test_there_are_the_parts_that_the_documents_name() -> None:
    assert LASTING == ["db", "proxy", "receiver", "reconciler", "server", "worker"]


@pytest.mark.parametrize("service", LASTING)
def test_a_part_is_checked_restarted_and_bounded(service: str) -> None:
    part = SERVICES[service]
    assert part["restart"] == "unless-stopped"
    assert part["healthcheck"]["test"]
    assert re.fullmatch(r"\d+[mg]", part["mem_limit"])
    assert part["logging"]["options"]["max-size"]


@pytest.mark.parametrize("service", OURS)
def test_our_processes_have_no_power_over_the_machine(service: str) -> None:
    part = SERVICES[service]
    assert part["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in part["security_opt"]
    assert "user" not in part  # the image's: an id of its own
    assert "privileged" not in part


def test_only_the_worker_reaches_docker() -> None:
    assert [name for name in sorted(SERVICES) if "docker.sock" in mounts(name)] == ["worker"]


def test_worker_and_reconciler_see_the_same_processes_and_the_machines_name() -> None:
    of_the_host = [name for name in sorted(SERVICES) if SERVICES[name].get("pid") == "host"]
    assert of_the_host == ["reconciler", "worker"]
    # A container in the host's network has its name, which Terraform writes into its locks.
    assert all(SERVICES[name]["network_mode"] == "host" and "hostname" not in SERVICES[name] for name in of_the_host)
    # What a dead run left in folders is removed by whoever takes over.
    assert all("work:/var/lib/pointsman" in mounts(name) for name in of_the_host)


def test_the_receiver_reaches_the_proxy_and_nothing_else() -> None:
    others = {name for name in SERVICES if name != "receiver" and networks(name) & networks("receiver")}
    assert others == {"proxy"}
    assert yaml.safe_load((PROJECT / "compose.yaml").read_text())["networks"]["edge"] == {"internal": True}
    assert SERVICES["receiver"]["secrets"] == ["webhook-secrets"]
    assert SERVICES["receiver"]["environment"]["PREFECT_API_URL"] == "http://proxy:4201/api"
    assert not any("AUTH" in name for name in SERVICES["receiver"]["environment"])


def test_only_the_proxy_is_reached_from_elsewhere() -> None:
    published = {name: part["ports"] for name, part in SERVICES.items() if "ports" in part}
    assert published == {
        "server": ["127.0.0.1:${POINTSMAN_PREFECT_PORT:-4200}:4200"],
        "proxy": ["${POINTSMAN_HTTPS_ADDRESS:-0.0.0.0}:${POINTSMAN_HTTPS_PORT:-443}:443"],
    }


def test_the_database_is_reached_by_the_server_alone() -> None:
    assert [name for name in SERVICES if name != "db" and networks(name) & networks("db")] == ["server"]


def test_no_secret_stands_in_a_variable() -> None:
    for part in SERVICES.values():
        for name, value in part.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|AUTH_STRING|KEY", name):
                assert name.endswith("_FILE")
                assert str(value).startswith("/run/secrets/")
                assert str(value).removeprefix("/run/secrets/") in part["secrets"]


def test_the_receivers_two_calls_are_all_that_the_proxy_passes_on_for_it() -> None:
    gate = CADDYFILE.partition("http://:4201 {")[2].partition("\n}\n")[0]
    assert re.findall(r"method (\w+)\n\s+path(?:_regexp)? (\S+)", gate) == [
        ("GET", "/api/deployments/name/release/{$POINTSMAN_ENVIRONMENT}"),
        ("POST", "^/api/deployments/[0-9a-f-]{36}/create_flow_run$"),
    ]
    assert gate.rstrip().endswith("respond 403\n\t}")


def test_the_image_is_sent_no_settings_and_no_secret() -> None:
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert not {"secrets", "environments", "backups", ".env", "tests", "sandbox", ".git"} & allowed
    assert all((PROJECT / name).exists() for name in allowed)


def test_each_package_of_python_that_runs_there_is_sent() -> None:
    allowed = (PROJECT / ".dockerignore").read_text()
    packages = {path.parent.name for path in PROJECT.glob("*/__init__.py")} - {"sandbox", "emulator", "bench", "tests"}
    assert len(packages) >= 9
    assert all(f"!{name}\n" in allowed for name in packages)


# --- the entry point, run


def enter(tmp_path: Path, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path / "tmp"), **variables}
    return subprocess.run(
        [str(ENTRYPOINT), "sh", "-c", command], env=environment, capture_output=True, text=True, check=False
    )


def test_a_secret_comes_out_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "auth").write_text("admin:p w'\"$x\n")
    command = 'printf "%s|%s" "$PREFECT_API_AUTH_STRING" "${PREFECT_API_AUTH_STRING_FILE-unset}"'
    done = enter(tmp_path, command, PREFECT_API_AUTH_STRING_FILE=str(tmp_path / "auth"))
    assert (done.returncode, done.stdout) == (0, "admin:p w'\"$x|unset")


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("")
    done = enter(
        tmp_path, 'echo "${POINTSMAN_SOURCE_TOKEN-unset}"', POINTSMAN_SOURCE_TOKEN_FILE=str(tmp_path / "token")
    )
    assert done.stdout == "unset\n"


def test_a_variable_that_is_a_file_by_itself_stays(tmp_path: Path) -> None:
    done = enter(tmp_path, 'echo "$SSL_CERT_FILE"', SSL_CERT_FILE="/etc/ca.crt")
    assert done.stdout == "/etc/ca.crt\n"


def test_a_secret_that_cannot_be_read_ends_the_process_in_one_sentence(tmp_path: Path) -> None:
    done = enter(tmp_path, "echo started", PREFECT_API_KEY_FILE=str(tmp_path / "missing"))
    assert done.returncode == 1
    assert "started" not in done.stdout
    assert "the secret PREFECT_API_KEY cannot be read" in done.stderr
    assert "scripts/machine init" in done.stderr
