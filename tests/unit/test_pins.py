"""What a release pins of what others may change: a sidecar's tag becomes the digest that its registry has now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import docker.errors
import pytest
import requests
from botocore.exceptions import ClientError

from core.errors import Refused, Transient
from core.release import Configuration, Pins
from operation.operation import Operation
from systems.ecs import read_names, stop_reason
from tasks.pins import note_secret_versions, pin_sidecars
from tests.unit.facts import INFRASTRUCTURE, settings_with

DIGEST = "sha256:" + "cd" * 32


class FakeEngine:
    """A docker host whose registry knows some images."""

    def __init__(self, *known: str, error: Exception | None = None) -> None:
        self.known, self.error, self.asked = known, error, dict[str, Any]()
        self.api = self

    @contextmanager
    def get_client(self) -> Iterator[FakeEngine]:
        yield self

    def inspect_distribution(self, image: str, auth_config: Any = None) -> dict[str, Any]:
        self.asked[image] = auth_config
        if self.error is not None:
            raise self.error
        if image not in self.known:
            response = requests.Response()
            response.status_code = 403
            raise docker.errors.APIError("denied", response=response, explanation="pull access denied")
        return {"Descriptor": {"digest": DIGEST}}


@pytest.fixture
def pinning(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, str]]:
    def pin(engine: FakeEngine, *images: str) -> dict[str, str]:
        named = "".join(f'[[service.containers]]\nname = "c{at}"\nimage = "{i}"\n' for at, i in enumerate(images))
        monkeypatch.setattr(operation.block, "docker_host", engine)
        monkeypatch.setattr(type(operation), "settings", settings_with(named))
        return pin_sidecars(operation)

    return pin


def test_a_tag_is_pinned_and_a_digest_is_not_asked_for(pinning: Callable[..., dict[str, str]]) -> None:
    engine = FakeEngine("public.ecr.aws/x/proxy:1.2")
    assert pinning(engine, "public.ecr.aws/x/proxy:1.2", f"nginx@{DIGEST}") == {"public.ecr.aws/x/proxy:1.2": DIGEST}
    assert engine.asked == {"public.ecr.aws/x/proxy:1.2": None}


def test_no_sidecar_asks_no_registry(pinning: Callable[..., dict[str, str]]) -> None:
    assert pinning(FakeEngine(error=AssertionError())) == {}


def test_an_image_that_no_registry_shows_is_refused_by_name(pinning: Callable[..., dict[str, str]]) -> None:
    with pytest.raises(Refused, match=r"names a:1, b:2, which cannot be pinned to a digest.*@sha256"):
        pinning(FakeEngine("c:3"), "b:2", "a:1", "c:3")


@pytest.mark.parametrize(
    "error",
    [
        docker.errors.APIError("x", response=None, explanation="dial tcp: i/o timeout"),
        requests.exceptions.ConnectionError("no engine"),
    ],
)
def test_a_registry_that_does_not_answer_is_asked_again(
    pinning: Callable[..., dict[str, str]], error: Exception
) -> None:
    with pytest.raises(Transient):
        pinning(FakeEngine(error=error), "a:1")


# ---- Secrets' versions


class FakeSecrets:
    """Secrets Manager that tells of versions, and refuses what is another account's."""

    def describe_secret(self, SecretId: str) -> dict[str, Any]:  # noqa: N803
        if ":999999999999:" in SecretId:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeSecret")
        if SecretId.endswith("empty"):
            return {"ARN": SecretId}
        return {"VersionIdsToStages": {"v-1": ["AWSPREVIOUS"], "v-2": ["AWSCURRENT"], "v-3": ["AWSPENDING"]}}


def test_the_current_version_of_each_secret_is_noted_and_what_may_not_be_seen_stops_nothing(
    operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = "arn:aws:secretsmanager:eu-west-1:999999999999:secret:shared-AbCdEf"
    named = (
        '[service.secrets.A]\nsecret = "team/shop"\nkey = "A"\n[service.secrets.B]\nsecret = "team/shop"\n'
        f'[service.secrets.C]\nsecret = "{theirs}"\n[service.secrets.D]\nparameter = "/shop"\n'
        '[migration.secrets.E]\nsecret = "team/empty"\n'
    )
    arns = {"team/shop": "arn:shop", theirs: theirs, "team/empty": "arn:empty"}
    monkeypatch.setattr(type(operation), "settings", settings_with(named))
    monkeypatch.setattr(type(operation), "infrastructure", INFRASTRUCTURE.model_copy(update={"secret_arns": arns}))
    monkeypatch.setattr(operation.aws, "secretsmanager", FakeSecrets(), raising=False)
    assert note_secret_versions(operation) == {"team/shop": "v-2"}


def test_a_rotated_secret_is_recorded_and_is_no_other_configuration() -> None:
    settings = settings_with('[service.secrets.A]\nsecret = "team/shop"\n')
    arns = {"team/shop": "arn:shop"}
    before, after = (
        Configuration.of(settings, arns, Pins(secret_versions={"team/shop": version})) for version in ("v-1", "v-2")
    )
    assert (before.secret_versions, after.secret_versions) == ({"team/shop": "v-1"}, {"team/shop": "v-2"})
    assert before.digest == after.digest


class FakeDefinitions:
    """ECS with one definition, whose first container is not the application's."""

    def describe_task_definition(self, **_: Any) -> dict[str, Any]:
        bears = [{"name": "POINTSMAN_VERSION", "value": "v1.0.0"}, {"name": "POINTSMAN_REVISION", "value": "abc"}]
        containers = [{"name": "proxy", "image": "proxy"}, {"name": "shop", "image": "shop", "environment": bears}]
        return {"taskDefinition": {"containerDefinitions": containers}}


def test_a_definition_names_its_release_in_whatever_order_its_containers_come() -> None:
    named = read_names(lambda _: FakeDefinitions(), "arn")  # type: ignore[arg-type, return-value]
    assert (named.image, named.version, named.revision) == ("shop", "v1.0.0", "abc")


def test_of_several_containers_each_end_is_told_by_its_name() -> None:
    containers = [{"name": "proxy", "exitCode": 0}, {"name": "shop", "exitCode": 137, "reason": "OutOfMemoryError"}]
    told = stop_reason({"stoppedReason": "Essential container in task exited", "containers": containers})
    assert told == "Essential container in task exited, proxy: exit code 0, shop: exit code 137, shop: OutOfMemoryError"


def answer(status: int, said: str) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    return docker.errors.APIError(said, response=response, explanation=said)


@pytest.mark.parametrize(
    "error",
    [
        answer(429, "toomanyrequests: You have reached your pull rate limit"),
        answer(500, 'Get "https://registry/v2/": x509: certificate signed by unknown authority'),
    ],
)
def test_a_registry_that_is_busy_or_not_trusted_is_no_registry_without_that_image(
    pinning: Callable[..., dict[str, str]], error: Exception
) -> None:
    with pytest.raises(Transient, match="did not answer"):
        pinning(FakeEngine(error=error), "nginx:1.27")
