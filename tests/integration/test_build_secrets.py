"""Secrets of a build on a real engine: a step reads them, and nobody else ever does."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest
from prefect.logging.loggers import get_logger

from core.errors import Permanent, Refused
from operation.operation import Operation
from systems.docker import list_images
from systems.ecr import find_image, read_labels
from tasks.checkout import Checkout
from tasks.image import build_image
from tests.integration.images import Place, checkout_of, configure, pushed_image

pytestmark = pytest.mark.integration

VARIABLE, FILE, WHOLE, KEYED = (
    "npm_4vArIaBlE0123456789",
    "f1le-0f-the-w0rker-99",
    "wh0le-secret-77777",
    "k3yed-secret-55555",
)
MANY_LINES = f"registry=https://registry.npmjs.org/\n//registry.npmjs.org/:_authToken={FILE}\n"
SETTINGS = """
[image.secrets]
token = { variable = "BUILD_TOKEN" }
npmrc = { file = "%s" }
whole = { secret = "team/whole" }
keyed = { secret = "team/keyed", key = "token" }
"""
MOUNTS = " ".join(f"--mount=type=secret,id={id},required=true" for id in ("token", "npmrc", "whole", "keyed"))
READ = "const fs = require('fs'); const read = (id) => fs.readFileSync('/run/secrets/' + id)"
# The step prints every value, in two forms, and stays a while, so that command lines can be looked at. It is another
# one each time: a step that ran before is not run again, whatever its secrets.
READS = f"""\
FROM pointsman/node:sandbox
RUN {MOUNTS} node -e "{READ}; \\
  const all = Buffer.concat(['token', 'npmrc', 'whole', 'keyed'].map(read)); console.log(all.toString()); \\
  console.log(read('token').toString('base64')); \\
  fs.writeFileSync('/proof', require('crypto').createHash('sha256').update(all).digest('hex')); \\
  setTimeout(() => '{uuid.uuid4()}', 2000)"
"""


@pytest.fixture
def sources(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A value in each place; the settings that name them."""
    file = tmp_path / "npmrc"
    file.write_text(MANY_LINES)
    monkeypatch.setenv("BUILD_TOKEN", VARIABLE)
    for name, value in (("team/whole", WHOLE), ("team/keyed", json.dumps({"token": KEYED, "other": "x"}))):
        place.secrets.create_secret(Name=name, SecretString=value)
    yield SETTINGS % file
    for name in ("team/whole", "team/keyed"):
        place.secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return with_dockerfile(checkout_of(tmp_path, "secrets"), READS)


def with_dockerfile(checkout: Checkout, text: str) -> Checkout:
    (checkout.directory / "Dockerfile").write_text(text)
    return checkout


class Lines(logging.Handler):
    """Everything that is logged anywhere in this process."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, with what it was raised from."""
        self.said.append(f"{record.getMessage()} {record.exc_info or ''}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Lines:
    handler = Lines()
    logger = logging.getLogger("image under test")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    get_logger("flow_runs").addHandler(handler)
    monkeypatch.setattr("tasks.image.run_logger", lambda: logger)
    monkeypatch.setattr("tasks.build_secrets.run_logger", lambda: logger)
    return handler


@contextmanager
def watched_command_lines() -> Iterator[set[str]]:
    """Read every process's command line, again and again, while the block runs."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for entry in os.scandir("/proc"):
                if entry.name.isdigit():
                    try:
                        seen.add(Path(entry.path, "cmdline").read_bytes().decode(errors="replace"))
                    except OSError:
                        continue
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def forms_of(value: str) -> list[str]:
    return [value, base64.b64encode(value.encode()).decode()]


VALUES = [form for value in (VARIABLE, FILE, WHOLE, KEYED) for form in forms_of(value)]


def nowhere(text: str) -> None:
    assert not [value for value in VALUES if value in text]


def saved(image: str) -> bytes:
    """The whole image as the engine keeps it: layers, configuration, history."""
    return subprocess.run(["docker", "image", "save", image], capture_output=True, check=True).stdout


def inside(image: str, path: str) -> bytes:
    client = docker.from_env()
    try:
        container = client.api.create_container(image, command=["none"])["Id"]
        try:
            parts, _ = client.api.get_archive(container, path)
            archive = b"".join(parts)
        finally:
            client.api.remove_container(container)
    finally:
        client.close()
    return subprocess.run(["tar", "-xO"], input=archive, capture_output=True, check=True).stdout


def test_a_step_reads_each_secret_and_no_layer_history_label_log_or_command_line_holds_one(
    operation: Operation, place: Place, checkout: Checkout, sources: str, log: Lines
) -> None:
    configure(operation, sources)
    with watched_command_lines() as command_lines:
        reference = pushed_image(operation, checkout)
    history = operation.records.version("v1.1.0")
    assert history is not None
    image = history.images[-1]

    joined = VARIABLE + MANY_LINES + WHOLE + KEYED
    proof = hashlib.sha256(joined.encode()).hexdigest()
    assert inside(image.built, "/proof").decode() == proof, "the step had all four values"

    build = [line for line in command_lines if "\0build\0" in line and "POINTSMAN_BUILD_SECRET" in line]
    assert build, "the docker client was seen at work"
    assert any("setTimeout" in line for line in command_lines), "and the step"
    nowhere("\n".join(command_lines))

    assert any("***" in line for line in log.said), "the step printed them all"
    nowhere("\n".join(log.said))

    nowhere(saved(image.built).decode(errors="replace"))
    shown = subprocess.run(
        ["docker", "history", "--no-trunc", "--format={{.CreatedBy}} {{.Comment}}", image.built],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "writeFileSync" in shown
    nowhere(shown)
    found = find_image(operation.aws, "team/shop", image.tag)
    assert found is not None
    nowhere(json.dumps(read_labels(operation.aws, "team/shop", found)))

    for written in (history.model_dump_json(), operation.record.model_dump_json(), reference):
        nowhere(written)


def test_a_failing_build_says_why_without_the_secret(
    operation: Operation, sources: str, tmp_path: Path, log: Lines
) -> None:
    configure(operation, sources)
    text = f"FROM pointsman/node:sandbox\nRUN {MOUNTS} cat /run/secrets/token && cat /run/secrets/npmrc >&2 && exit 7\n"
    with pytest.raises(Permanent, match="could not be built") as failure:
        build_image.fn(operation, with_dockerfile(checkout_of(tmp_path, "fails with secrets"), text))
    assert "***" in failure.value.why
    nowhere(f"{failure.value} {failure.value.why} {failure.value!r}")
    nowhere("\n".join(log.said))
    nowhere(operation.record.model_dump_json())


def node(script: str) -> str:
    return f'node -e "{READ}; {script}"'


@pytest.mark.parametrize(
    ("step", "where"),
    [
        ("cp /run/secrets/npmrc /root/.npmrc", "npmrc in /root/.npmrc"),
        (node("fs.writeFileSync('/etc/t', read('token').toString('base64'))"), "token in /etc/t"),
        (node("fs.writeFileSync('/b', 'key: ' + String(read('npmrc')).trim().split('=').pop())"), "npmrc in /b"),
    ],
)
def test_an_image_that_holds_a_secret_is_not_pushed_and_its_tag_is_removed(
    operation: Operation, place: Place, sources: str, tmp_path: Path, step: str, where: str
) -> None:
    configure(operation, sources)
    before = len(list_images(operation.block.docker_host, place.repository))
    text = f"FROM pointsman/node:sandbox\nRUN {MOUNTS} {step}\n"
    with pytest.raises(Permanent, match="holds a secret of its build") as failure:
        pushed_image(operation, with_dockerfile(checkout_of(tmp_path, step), text))
    assert where in failure.value.why
    nowhere(str(failure.value))
    assert len(list_images(operation.block.docker_host, place.repository)) == before
    history = operation.records.version("v1.1.0")
    assert history is None or not history.images


def test_a_secret_in_the_image_s_environment_is_found_in_its_configuration(
    operation: Operation, sources: str, tmp_path: Path
) -> None:
    # A build argument with the value is refused before; here the Dockerfile itself holds it, as a copied one may.
    configure(operation, sources)
    text = f"FROM pointsman/node:sandbox\nENV TOKEN={VARIABLE}\nRUN {MOUNTS} true\n"
    with pytest.raises(Permanent, match="holds a secret of its build") as failure:
        build_image.fn(operation, with_dockerfile(checkout_of(tmp_path, "environment"), text))
    assert "token in the image's configuration or history" in failure.value.why


def test_what_is_not_there_is_refused_before_anything_is_built(
    operation: Operation, sources: str, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings, why in (
        (sources.replace("BUILD_TOKEN", "NO_SUCH_TOKEN"), "the worker has no variable NO_SUCH_TOKEN"),
        (sources.replace("/npmrc", "/nowhere"), "the worker has no file"),
        (sources.replace("team/whole", "team/gone"), "the secret team/gone was not found"),
        (sources.replace('key = "token"', 'key = "missing"'), "it has the keys other, token"),
    ):
        configure(operation, settings)
        monkeypatch.setattr("tasks.image.docker.build", lambda *_, **__: pytest.fail("something was built"))
        with pytest.raises(Refused) as refusal:
            build_image.fn(operation, checkout)
        assert why in refusal.value.why
        nowhere(str(refusal.value))


ASKS_AGENT = """\
FROM pointsman/node:sandbox
RUN --mount=type=ssh,required=true node -e "const s = require('net').connect(process.env.SSH_AUTH_SOCK); \
  s.on('connect', () => s.write(Buffer.from([0, 0, 0, 1, 11]))); \
  s.on('data', (d) => { require('fs').writeFileSync('/keys', String(d.readUInt32BE(5))); s.end() })"
"""


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An ssh agent with one key; the key's path."""
    key, address = tmp_path / "id", tmp_path / "agent"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(address)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(address))
    try:
        for _ in range(100):
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(address)) == 0:
                    break
            time.sleep(0.05)
        subprocess.run(["ssh-add", "-q", str(key)], check=True)
        yield key
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("of", ["agent", "key"])
def test_a_step_reaches_the_agent_or_the_key_and_the_key_is_nowhere(
    operation: Operation, agent: Path, tmp_path: Path, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(operation, f'[image.ssh]\ndefault = "{"agent" if of == "agent" else agent}"\n')
    if of == "key":
        monkeypatch.delenv("SSH_AUTH_SOCK")
    built = build_image.fn(operation, with_dockerfile(checkout_of(tmp_path, f"ssh {of}"), ASKS_AGENT)).built
    assert inside(built, "/keys") == b"1"
    assert b"OPENSSH PRIVATE KEY" not in saved(built)


def test_no_agent_is_refused_before_anything_is_built(
    operation: Operation, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(operation, '[image.ssh]\ndefault = "agent"\n')
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(Refused, match="no variable SSH_AUTH_SOCK"):
        build_image.fn(operation, with_dockerfile(checkout, ASKS_AGENT))
