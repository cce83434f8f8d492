"""A sandbox that checks authorization: who acts, in the environment's file and in the worker's profiles."""

from __future__ import annotations

import configparser
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from core.errors import Permanent
from core.settings import parse_settings
from sandbox import environment_file, seed
from sandbox.aws import Emulator
from sandbox.settings import ADMINISTRATOR, ROLES, WORKER, Ports, Settings

ROLE = "arn:aws:iam::000000000000:role/cursive-team-connections-sandbox-pipeline"


def settings(root: Path, *, auth: bool) -> Settings:
    made = Settings(root, Ports(), auth=auth)
    made.directories.home.mkdir(parents=True)
    return made


def test_releases_act_as_the_pipelines_role_and_an_administrator_provisions(tmp_path: Path) -> None:
    ours = settings(tmp_path, auth=True)
    environment_file.write(ours)
    written = parse_settings("sandbox", (environment_file.folder(ours) / "sandbox.toml").read_text())
    assert (written.aws.role_arn, written.aws.profile, written.aws.provision_profile) == (ROLE, WORKER, ADMINISTRATOR)
    assert {name: getattr(written.aws, name) for name in ROLES} == ROLES
    assert f"user/{WORKER}" in (environment_file.folder(ours) / "sandbox.toml").read_text()
    assert Emulator(ours).environment()["AUTH"] == "true"


def test_without_it_nobody_is_told_apart(tmp_path: Path) -> None:
    ours = settings(tmp_path, auth=False)
    environment_file.write(ours)
    written = parse_settings("sandbox", (environment_file.folder(ours) / "sandbox.toml").read_text())
    assert (written.aws.role_arn, written.aws.profile) == (None, None)
    assert "AUTH" not in Emulator(ours).environment()


class FakeIam:
    """IAM as far as a user and its keys go."""

    class exceptions:  # noqa: N801
        class EntityAlreadyExistsException(Exception):
            pass

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.policies: dict[str, str] = {}
        self._known = False

    def create_user(self, UserName: str) -> None:  # noqa: N803
        if self._known:
            raise self.exceptions.EntityAlreadyExistsException
        self._known = True

    def list_access_keys(self, UserName: str) -> dict[str, Any]:  # noqa: N803
        return {"AccessKeyMetadata": [{"AccessKeyId": key} for key in self.keys]}

    def delete_access_key(self, UserName: str, AccessKeyId: str) -> None:  # noqa: N803
        self.keys.remove(AccessKeyId)

    def create_access_key(self, UserName: str) -> dict[str, Any]:  # noqa: N803
        assert len(self.keys) < 2, "AWS allows two keys"
        self.keys.append(f"AKIA{len(self.keys)}")
        return {"AccessKey": {"AccessKeyId": self.keys[-1], "SecretAccessKey": "s"}}

    def put_user_policy(self, UserName: str, PolicyName: str, PolicyDocument: str) -> None:  # noqa: N803
        self.policies[PolicyName] = PolicyDocument


def test_the_worker_may_assume_that_role_and_keeps_one_key(tmp_path: Path) -> None:
    ours, iam = settings(tmp_path, auth=True), FakeIam()
    for _ in range(3):
        seed.write_profiles(ours, seed.create_worker(iam))
    assert len(iam.keys) == 1
    [policy] = iam.policies.values()
    assert json.loads(policy)["Statement"] == [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": sorted(ROLES.values())}
    ]
    profiles = configparser.ConfigParser()
    profiles.read(ours.aws_credentials)
    assert profiles[WORKER]["aws_access_key_id"] == iam.keys[0]
    assert ADMINISTRATOR in profiles
    assert stat.S_IMODE(ours.aws_credentials.stat().st_mode) == 0o600


def test_a_setting_changes_on_its_own_line_only() -> None:
    text = 'endpoint_url = "a"  # kept\nurl = "b"\n\n[timing]\nstart = 5\n'
    assert environment_file.with_values(text, {"url": r'"\1"', "start": "12"}) == (
        'endpoint_url = "a"  # kept\nurl = "\\1"\n\n[timing]\nstart = 12\n'
    )


@pytest.mark.parametrize(("text", "lines"), [("a = 1\n", 0), ("b = 1\nb = 2\n", 2)])
def test_a_setting_that_is_not_on_one_line_is_refused(text: str, lines: int) -> None:
    with pytest.raises(Permanent, match=rf"The setting b is on {lines} lines"):
        environment_file.with_values(text, {"b": "3"})
