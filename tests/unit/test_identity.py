"""Who acts: the releases' identity, the one that makes infrastructure, and what a child process is told of either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.system import Secret
from prefect_aws import AwsCredentials
from prefect_docker import DockerHost

from blocks.aws import _fetcher, issued_variables
from blocks.environment import ReleaseEnvironment, read_settings
from core.errors import Refused
from systems.aws import bounded_config
from tests.unit.facts import SETTINGS, settings_with

ROLE = "arn:aws:iam::123456789012:role/pipeline"
KEY = {"aws_access_key_id": "AKIAPIPELINE", "aws_secret_access_key": "secret", "aws_session_token": "token"}


def block(aws: str, **identity: Any) -> ReleaseEnvironment:
    made = ReleaseEnvironment(
        stage="test",
        aws_credentials=AwsCredentials(region_name="eu-west-1", **identity),
        docker_host=DockerHost(),
        webhook_secret=Secret(value="hook"),
    )
    made.__dict__["settings"] = settings_with(f"\n[aws]\n{aws}\n")
    return made


def test_provision_acts_as_its_profile_and_never_with_the_pipeline_s_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = "[administrator]\naws_access_key_id = AKIAADMIN\naws_secret_access_key = admin\n"
    (tmp_path / "credentials").write_text(profile)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    provisioner = block('provision_profile = "administrator"', assume_role_arn=ROLE, **KEY).provisioner()
    given = issued_variables(provisioner.aws_credentials, bounded_config(settings_with().timing))
    assert given["AWS_ACCESS_KEY_ID"] == "AKIAADMIN"
    assert "AWS_SESSION_TOKEN" not in given


@pytest.mark.parametrize("identity", [KEY, {"assume_role_arn": ROLE}])
def test_provision_without_an_identity_of_its_own_is_refused(identity: dict[str, str]) -> None:
    with pytest.raises(Refused, match=r"it would act as the pipeline.*provision_profile"):
        block("", **identity).provisioner()


def test_provision_may_act_as_the_machine_itself() -> None:
    assert block("").provisioner().aws_credentials == block("").aws_credentials


def test_provision_in_an_emulator_acts_with_its_key_and_without_the_role() -> None:
    acting = block('endpoint_url = "http://127.0.0.1:4566"', assume_role_arn=ROLE, **KEY).provisioner()
    assert acting.aws_credentials.assume_role_arn is None
    assert acting.aws_credentials.aws_access_key_id == "AKIAPIPELINE"


def test_the_calls_that_renew_a_role_are_bounded_like_all_others() -> None:
    timing = settings_with("aws_connect_timeout = 1.5\naws_read_timeout = 4\naws_attempts = 2\n").timing
    fetcher = _fetcher(AwsCredentials(region_name="eu-west-1", assume_role_arn=ROLE, **KEY), bounded_config(timing))
    config = fetcher._create_client().meta.config
    assert (config.connect_timeout, config.read_timeout) == (1.5, 4)
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}


@pytest.mark.parametrize("stage", ["../pyproject", "/etc/passwd", "a/b", "", ".", "Test", "test\n", "test.toml"])
def test_a_name_that_is_no_name_opens_no_file(stage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "test.toml").write_text(SETTINGS)
    (tmp_path / "environments").mkdir()
    monkeypatch.setenv("POINTSMAN_ENVIRONMENTS", str(tmp_path / "environments"))
    with pytest.raises(Refused, match="is not a valid environment name"):
        read_settings(stage)
