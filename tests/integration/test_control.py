"""The machine that releases: its root applied against moto, and what its user data brings, run where that can be."""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.roots import REGION, Applied, common
from tests.integration.stand import ROOT
from tests.integration.test_moto import ACCOUNT, Moto, moto  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration
PROGRAMS = ROOT / "terraform" / "control" / "machine"
VARIABLES = {
    **common(ACCOUNT),
    "stage": "production",
    "host_name": "release.example.com",
    "operator_cidrs": ["203.0.113.0/24"],
    "pointsman_repository": "https://github.com/cursive-team/pointsman.git",
    "pointsman_ref": "v0.1.0",
    "backup_bucket": "cursive-team-connections-state",
}
SECRET = "cursive-team/connections/production-control"

# moto has no Data Lifecycle Manager and not its managed policy; both are held by terraform/control/tests.
WITHOUT_SNAPSHOTS = """
resource "aws_dlm_lifecycle_policy" "data" {
  count = 0
}
resource "aws_iam_role_policy_attachment" "snapshots" {
  count = 0
}
"""


@dataclass
class Control:
    root: Applied
    outputs: dict[str, Any]
    moto: Moto

    @property
    def instance(self) -> dict[str, Any]:
        ec2 = self.moto.client("ec2")
        [reservation] = ec2.describe_instances(InstanceIds=[self.outputs["instance_id"]])["Reservations"]
        return dict(reservation["Instances"][0])

    @property
    def user_data(self) -> str:
        ec2 = self.moto.client("ec2")
        answer = ec2.describe_instance_attribute(InstanceId=self.outputs["instance_id"], Attribute="userData")
        return gzip.decompress(base64.b64decode(answer["UserData"]["Value"])).decode()

    @property
    def files(self) -> dict[str, dict[str, str]]:
        return {file["path"]: file for file in yaml.safe_load(self.user_data)["write_files"]}


@pytest.fixture(scope="module")
def control(moto: Moto, tmp_path_factory: pytest.TempPathFactory) -> Control:  # noqa: F811
    root = Applied(moto.environment, "control", tmp_path_factory.mktemp("roots"))
    (root.directory / "snapshots_override.tf").write_text(WITHOUT_SNAPSHOTS)
    return Control(root, root.apply(**VARIABLES), moto)


# --- the root, applied


def test_a_second_plan_wants_nothing_even_with_other_user_data(control: Control) -> None:
    control.root.give(**{**VARIABLES, "pointsman_ref": "v0.2.0"})
    assert control.root.still_wanted() == {}


def test_the_machine_has_no_key_pair_and_asks_for_a_token(control: Control) -> None:
    assert "KeyName" not in control.instance
    options = control.instance["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)


def test_nothing_comes_in_but_443(control: Control) -> None:
    groups = [group["GroupId"] for group in control.instance["SecurityGroups"]]
    [described] = control.moto.client("ec2").describe_security_groups(GroupIds=groups)["SecurityGroups"]
    assert {(rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) for rule in described["IpPermissions"]} == {
        ("tcp", 443, 443)
    }


def test_both_volumes_are_encrypted_and_one_outlives_the_machine(control: Control) -> None:
    mappings = {one["DeviceName"]: one["Ebs"] for one in control.instance["BlockDeviceMappings"]}
    volumes = control.moto.client("ec2").describe_volumes(VolumeIds=[one["VolumeId"] for one in mappings.values()])
    assert [volume["Encrypted"] for volume in volumes["Volumes"]] == [True, True]
    assert mappings["/dev/sdf"]["VolumeId"] == control.outputs["data_volume_id"]


def test_what_must_outlive_the_machine_is_not_destroyed(control: Control) -> None:
    refusal = " ".join(control.root.refusal("plan", "-destroy", "-input=false").split())
    for address in ("aws_ebs_volume.data", "aws_eip.machine", "aws_secretsmanager_secret.machine"):
        assert f"Resource {address} has lifecycle.prevent_destroy set" in refusal


# --- user data


def test_user_data_is_what_cloud_init_reads(control: Control) -> None:
    assert control.user_data.startswith("#cloud-config\n")
    parsed = yaml.safe_load(control.user_data)
    assert set(parsed) == {"write_files", "runcmd"}
    assert all(set(file) == {"path", "permissions", "content"} for file in parsed["write_files"])
    enabled = {command[-1] for command in parsed["runcmd"] if command[:2] == ["systemctl", "enable"]}
    assert {f"/etc/systemd/system/{unit}" for unit in enabled} <= set(control.files)


def test_each_unit_starts_a_program_that_user_data_brings(control: Control) -> None:
    started = {
        line.partition("=")[2]
        for file in control.files.values()
        for line in file["content"].splitlines()
        if line.startswith(("ExecStart=", "ExecStartPre="))
    }
    assert len(started) == 4
    assert {control.files[program]["permissions"] for program in started} == {"0755"}


def test_the_secret_s_value_is_nowhere_in_user_data_or_state(control: Control) -> None:
    value = "a-password-that-nobody-else-has"
    control.moto.client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=json.dumps({"x": value}))
    control.root.run("refresh", "-input=false")
    assert SECRET in control.user_data
    assert value not in control.user_data
    assert value not in (control.root.directory / "terraform.tfstate").read_text()


def test_settings_survive_the_shell_that_reads_them(control: Control, tmp_path: Path) -> None:
    written = tmp_path / "machine.env"
    written.write_text(control.files["/etc/pointsman/machine.env"]["content"])
    read = 'set -eu; source "$1"; printf "%s\\n" "$REPOSITORY" "$REF" "$BACKUP_URL" "$SECRET_FILES"'
    said = subprocess.run(["bash", "-c", read, "-", written], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        VARIABLES["pointsman_repository"],
        "v0.1.0",
        "s3://cursive-team-connections-state/control/production",
        "database-password prefect-auth webhook-secrets certificate certificate-key",
    ]


@pytest.mark.parametrize("program", sorted(path.name for path in PROGRAMS.iterdir() if "." not in path.name))
def test_each_program_is_one_that_its_interpreter_accepts(program: str) -> None:
    text = (PROGRAMS / program).read_text()
    if text.startswith("#!/usr/bin/env python3\n"):
        compile(text, program, "exec")
        return
    assert text.startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", PROGRAMS / program], check=True)


# --- its parts, run here

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away and makes namespaces, as on the machine")

# The AWS CLI's one call that the program makes, sent to moto.
AWS_CLI = f"""#!{sys.executable}
import json, os, sys, boto3
service, call, *rest = sys.argv[1:]
assert (service, call, rest[0], rest[2:]) == (
    "secretsmanager", "get-secret-value", "--secret-id", ["--query", "SecretString", "--output", "json"]
), sys.argv
try:
    print(json.dumps(boto3.client(service).get_secret_value(SecretId=rest[1])["SecretString"]))
except Exception as error:
    sys.exit(f"An error occurred: {{error}}")
"""


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def fetch(control: Control, tmp_path: Path) -> Any:
    program(tmp_path / "bin", "aws", AWS_CLI)

    def run(value: str | None, *required: str) -> tuple[subprocess.CompletedProcess[str], Path]:
        name = f"fetched-{tmp_path.name}-{abs(hash(value))}"
        control.moto.client("secretsmanager").create_secret(
            Name=name, **({} if value is None else {"SecretString": value})
        )
        folder = tmp_path / "secrets"
        environment = {
            **control.moto.environment,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [sys.executable, PROGRAMS / "fetch-secrets", name, folder, *required],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, folder

    return run


@as_root
def test_each_key_becomes_a_file_that_its_owner_alone_may_read(fetch: Any) -> None:
    values = {"prefect-auth": "admin:p'a$s\"s wörd", "webhook-secrets": "one\ntwo\n"}
    done, folder = fetch(json.dumps(values), "prefect-auth", "webhook-secrets")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name: path.read_text() for path in folder.iterdir()} == values
    assert {(stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) for path in folder.iterdir()} == {(0o400, 10001)}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@as_root
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "could not be read (above); has it a value?", id="no value yet"),
        pytest.param("admin:hunter22", "is not JSON", id="not JSON"),
        pytest.param('["hunter22"]', "is not a JSON object", id="a list"),
        pytest.param('{"../auth": "hunter22"}', "has the key '../auth', which is no file's name", id="a way out"),
        pytest.param('{"prefect-auth": 22}', "has a value that is not text: prefect-auth", id="a number"),
        pytest.param('{"x": "hunter22"}', "lacks prefect-auth", id="one is missing"),
        pytest.param('{"prefect-auth": ""}', "lacks prefect-auth", id="one is empty"),
    ],
)
def test_a_secret_that_will_not_do_is_named_without_its_value_and_nothing_is_written(
    fetch: Any, value: str | None, reason: str
) -> None:
    done, folder = fetch(value, "prefect-auth")
    assert done.returncode == 1
    assert reason in done.stderr
    assert "hunter22" not in done.stderr + done.stdout
    assert not folder.exists()


class Namespaces:
    """A machine between a container's network and the metadata service, each a network namespace."""

    def __init__(self) -> None:
        self.machine, self.container, self.metadata = (f"pm{os.getpid()}-{one}" for one in ("m", "c", "s"))

    def __enter__(self) -> Namespaces:
        for name in (self.machine, self.container, self.metadata):
            self._ip("netns", "add", name)
            self._ip("-n", name, "link", "set", "lo", "up")
        for there, ours, theirs in (
            (self.container, "172.31.99.1/24", "172.31.99.2/24"),
            (self.metadata, "169.254.169.1/24", "169.254.169.254/24"),
        ):
            self._ip("-n", self.machine, "link", "add", there[-8:], "type", "veth", "peer", "eth0", "netns", there)
            self._ip("-n", self.machine, "addr", "add", ours, "dev", there[-8:])
            self._ip("-n", self.machine, "link", "set", there[-8:], "up")
            self._ip("-n", there, "addr", "add", theirs, "dev", "eth0")
            self._ip("-n", there, "link", "set", "eth0", "up")
            self._ip("-n", there, "route", "add", "default", "via", ours.partition("/")[0])
        self.run(self.machine, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        serve = [sys.executable, "-m", "http.server", "--bind", "169.254.169.254", "80"]
        self._server = subprocess.Popen(
            ["ip", "netns", "exec", self.metadata, *serve], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.terminate()
        self._server.wait(10)
        for name in (self.machine, self.container, self.metadata):
            self._ip("netns", "del", name)

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)

    def run(self, where: str, *command: str | Path) -> str:
        return subprocess.run(
            ["ip", "netns", "exec", where, *command], check=True, capture_output=True, text=True
        ).stdout

    def reaches_metadata(self, where: str, seconds: float) -> bool:
        ask = (
            "import socket, sys, time\nend = time.monotonic() + float(sys.argv[1])\n"
            "while time.monotonic() < end:\n"
            "    try:\n        socket.create_connection(('169.254.169.254', 80), 0.5)\n        sys.exit(0)\n"
            "    except OSError:\n        time.sleep(0.1)\n"
            "sys.exit(1)"
        )
        command = ["ip", "netns", "exec", where, sys.executable, "-c", ask, str(seconds)]
        return subprocess.run(command, check=False).returncode == 0


@as_root
def test_a_container_s_way_to_the_metadata_service_is_closed_and_the_machine_s_is_not() -> None:
    with Namespaces() as network:
        assert network.reaches_metadata(network.container, 20), "open before, or the test would prove nothing"
        for _ in range(2):
            network.run(network.machine, PROGRAMS / "close-metadata")
        # Docker's own doing when it starts: all that it forwards goes through the chain.
        network.run(network.machine, "iptables", "-I", "FORWARD", "-j", "DOCKER-USER")
        assert not network.reaches_metadata(network.container, 2)
        assert network.reaches_metadata(network.machine, 5)
        rules = network.run(network.machine, "iptables", "-S", "DOCKER-USER").splitlines()
        assert sorted(rules) == [
            "-A DOCKER-USER -d 169.254.169.254/32 -j DROP",
            "-A DOCKER-USER -d 169.254.170.2/32 -j DROP",
            "-N DOCKER-USER",
        ]


# What belongs to the machine is recorded instead of done: Docker, packages, disks. The rest is real, in namespaces.
RECORDED = {
    name: f'#!/bin/sh\necho "{name} $*" >>"$LOG"\n{rest}'
    for name, rest in {
        "dnf": "",
        "systemctl": "",
        "docker": "",
        "curl": "exit 22",
        "pointsman-open-data": "",
        "pointsman-fetch-secrets": '[ ! -e "$LOG.no-secret" ]',
    }.items()
}
FOLDERS = [Path(one) for one in ("/data", "/etc/pointsman", "/run/pointsman", "/usr/local/lib/docker/cli-plugins")]
PREPARE = f"""
set -eu
for folder in {" ".join(map(str, FOLDERS))}; do mount -t tmpfs tmpfs $folder; done
install -m 0755 /dev/null /usr/local/lib/docker/cli-plugins/docker-compose
cp "$FILES"/* /etc/pointsman/
"""


@dataclass
class Prepared:
    """A machine's first starts, each step a shell line in the same mount namespace."""

    folder: Path
    environment: dict[str, str]

    def run(self, *steps: str) -> tuple[int, list[str], str]:
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", PREPARE + "\n".join(steps)],
            env={**self.environment, "LOG": str(log)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, log.read_text().splitlines() if log.exists() else [], done.stdout + done.stderr


@pytest.fixture
def prepared(control: Control, tmp_path: Path) -> Iterator[Prepared]:
    made = [folder for folder in FOLDERS if not folder.exists()]
    for folder in made:
        folder.mkdir(parents=True)
    repository, files, programs = tmp_path / "repository", tmp_path / "files", tmp_path / "bin"
    for name, text in RECORDED.items():
        program(programs, name, text)
    shutil.copy(PROGRAMS / "prepare", programs / "pointsman-prepare")
    (repository / "environments").mkdir(parents=True)
    program(repository / "scripts", "machine", '#!/bin/sh\necho "machine $* $(git describe --tags)" >>"$LOG"\n')
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    for version, environment in (("v0.0.1", "staging"), ("v0.1.0", "production"), ("v0.2.0", "later")):
        (repository / "environments" / f"{environment}.toml").touch()
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "-m", version], check=True)
        subprocess.run([*git, "tag", version], check=True)
    files.mkdir()
    for path, file in control.files.items():
        if path.startswith("/etc/pointsman/"):
            text = file["content"].replace(VARIABLES["pointsman_repository"], f"file://{repository}")
            (files / Path(path).name).write_text(text)
    yield Prepared(tmp_path, {"PATH": f"{programs}:{os.environ['PATH']}", "FILES": str(files), "HOME": str(tmp_path)})
    for folder in made:
        folder.rmdir()


@as_root
def test_a_first_start_brings_the_named_version_up(prepared: Prepared, control: Control) -> None:
    volume = control.outputs["data_volume_id"].replace("-", "")
    device = f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume}"
    code, log, output = prepared.run("pointsman-prepare", "cat /data/pointsman/.env")
    assert code == 0, output
    assert log == [
        f"pointsman-open-data {device} /data",
        f"pointsman-fetch-secrets {SECRET} /run/pointsman/secrets database-password prefect-auth webhook-secrets "
        "certificate certificate-key",
        "systemctl start docker",
        "machine init v0.1.0",
        "machine up v0.1.0",
    ]
    assert "POINTSMAN_HOST=release.example.com" in output
    assert "POINTSMAN_TLS=/run/secrets/certificate /run/secrets/certificate-key" in output


@as_root
def test_a_later_start_keeps_the_version_and_what_was_edited(prepared: Prepared) -> None:
    code, log, output = prepared.run(
        "pointsman-prepare",
        "git -C /data/pointsman checkout --quiet v0.2.0",
        "echo EDITED=yes >>/data/pointsman/.env",
        "pointsman-prepare",
        "cat /data/pointsman/.env",
    )
    assert code == 0, output
    assert log[-2:] == ["machine init v0.2.0", "machine up v0.2.0"]
    assert "EDITED=yes" in output


@as_root
def test_a_new_machine_takes_the_volume_s_version_and_terraform_s_settings(prepared: Prepared) -> None:
    code, log, output = prepared.run(
        "pointsman-prepare",
        "git -C /data/pointsman checkout --quiet v0.2.0",
        "echo EDITED=yes >>/data/pointsman/.env",
        "rm /etc/pointsman/seeded",
        "pointsman-prepare",
        "cat /data/pointsman/.env",
    )
    assert code == 0, output
    assert log[-1] == "machine up v0.2.0"
    assert "EDITED=yes" not in output


@as_root
def test_nothing_is_started_without_its_secrets(prepared: Prepared) -> None:
    (prepared.folder / "log.no-secret").touch()
    code, log, _ = prepared.run("pointsman-prepare")
    assert code == 1
    assert [line.split()[0] for line in log] == ["pointsman-open-data", "pointsman-fetch-secrets"]


@as_root
def test_a_version_without_the_environment_s_file_is_refused_by_name(prepared: Prepared) -> None:
    code, log, output = prepared.run("sed -i s/v0.1.0/v0.0.1/ /etc/pointsman/machine.env", "pointsman-prepare")
    assert code == 1
    assert "has no environments/production.toml" in output
    assert "systemctl start docker" not in log


@as_root
def test_a_docker_compose_that_is_not_the_known_one_is_not_installed(prepared: Prepared) -> None:
    program(
        prepared.folder / "bin",
        "curl",
        '#!/bin/sh\nfor last; do :; done\nwhile [ "$1" != --output ]; do shift; done\necho x >"$2"\n',
    )
    plugin = "/usr/local/lib/docker/cli-plugins/docker-compose"
    code, _, output = prepared.run(f"rm {plugin}", f"pointsman-prepare || {{ ls {plugin} || exit 7; }}")
    assert code == 7
    assert "did NOT match" in output
    assert f"cannot access '{plugin}'" in output


@pytest.mark.parametrize(
    ("found", "formatted"),
    [
        pytest.param(2, True, id="nothing is on it"),
        pytest.param(0, False, id="something is on it"),
        pytest.param(8, None, id="not to be told"),
    ],
)
def test_only_an_empty_volume_is_formatted(tmp_path: Path, found: int, formatted: bool | None) -> None:
    log = tmp_path / "log"
    for name, code in {"mountpoint": 1, "blkid": found, "mkfs.xfs": 0, "mount": 0, "xfs_growfs": 0}.items():
        program(tmp_path / "bin", name, f'#!/bin/sh\necho {name} >>"{log}"\nexit {code}\n')
    (tmp_path / "device").touch()
    done = subprocess.run(
        [PROGRAMS / "open-data", tmp_path / "device", tmp_path / "data"],
        env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    called = log.read_text().split()
    assert ("mkfs.xfs" in called) is bool(formatted)
    assert ("mount" in called) is (formatted is not None)
    assert (done.returncode == 0) is (formatted is not None)
