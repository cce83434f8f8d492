"""The image of a release: built, pushed and found again by our own record, never by what an image says of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker.errors
import httpx
import pytest
import requests.exceptions

from core.errors import Permanent, PointsmanError, Refused, Transient, UnknownOutcome
from core.history import VersionRecord
from core.settings import EnvironmentSettings
from core.version import Version
from operation.operation import Operation
from systems.ecr import find_image
from tasks.checkout import Checkout
from tasks.image import build_image, prune_worker, push_image, source_label
from tests.unit.facts import COMMIT, DIGEST, REPOSITORY, settings_with
from tests.unit.fakes import CONFIG, Block, FakeAws, Fault, lost

OTHER, INDEX, CHILD, ATTESTATION = ("sha256:" + two * 32 for two in ("0e", "1d", "c1", "a7"))
NAMED: list[dict[str, Any]] = [{"status": "Pushed", "id": "abc"}, {"aux": {"Digest": DIGEST}}]

EMULATED = '[aws]\nendpoint_url = "http://127.0.0.1:4566"\n'

CLIENT = """\
#!/bin/sh
case "$1" in --version) echo "Docker version 20.10.24+dfsg1, build 297e128"; exit;; esac
env > {folder}/environment
printf '%s\\n' "$@" > {folder}/arguments
for argument; do case "$argument" in
  --file=*) cp "${{argument#--file=}}" {folder}/dockerfile; cp "${{argument#--file=}}.dockerignore" {folder}/ignored;;
  --iidfile=*) [ -e {folder}/fails ] || cat {folder}/image-id > "${{argument#--iidfile=}}";;
esac; done
if [ -e {folder}/fails ]; then echo 'ERROR: no such stage'; exit 1; fi
"""


def conflict() -> requests.Response:
    answer = requests.Response()
    answer.status_code = 409
    return answer


@dataclass
class FakeEngine:
    """A docker client that builds `built`, and an engine whose push tells `lines` and breaks off, or not."""

    aws: FakeAws
    folder: Path
    lines: list[dict[str, Any]] = field(default_factory=lambda: list(NAMED))
    breaks: Exception | None = None
    lands: str | None = DIGEST
    pushed: list[str] = field(default_factory=list)
    local: list[dict[str, Any]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    removed: list[str] = field(default_factory=list)
    cache_left: list[int] = field(default_factory=list)
    base_url: str | None = None

    def __post_init__(self) -> None:
        client = self.folder / "docker"
        client.write_text(CLIENT.format(folder=self.folder))
        client.chmod(0o755)
        self.build_makes(CONFIG)

    def build_makes(self, image_id: str) -> None:
        (self.folder / "image-id").write_text(image_id)

    def build_fails(self) -> None:
        (self.folder / "fails").touch()

    @property
    def arguments(self) -> list[str]:
        made = self.folder / "arguments"
        return made.read_text().splitlines() if made.exists() else []

    def said(self, name: str) -> str:
        return (self.folder / name).read_text()

    architecture: str = "x86_64"

    # --- what docker-py has

    def info(self) -> dict[str, str]:
        return {"OSType": "linux", "Architecture": self.architecture}

    @property
    def api(self) -> FakeEngine:
        return self

    @contextmanager
    def get_client(self) -> Iterator[FakeEngine]:
        yield self

    def push(self, reference: str, **_: Any) -> Iterator[dict[str, Any]]:
        repository, _colon, tag = reference.rpartition(":")
        assert repository == REPOSITORY
        self.pushed.append(tag)
        if self.lands:
            self.aws.ecr.images.setdefault(tag, self.lands)
        yield from self.lines
        if self.breaks:
            raise self.breaks

    def images(self, *, name: str) -> list[dict[str, Any]]:
        assert name == REPOSITORY
        if self.breaks:
            raise self.breaks
        return self.local

    def remove_image(self, tag: str, *, force: bool) -> None:
        assert not force
        if tag in self.used:
            raise docker.errors.APIError("conflict", conflict(), "in use")
        self.removed.append(tag)

    def prune_builds(self, *, keep_storage: int) -> dict[str, int]:
        self.cache_left.append(keep_storage)
        return {"SpaceReclaimed": 5_000_000}


def image_of(operation: Operation, checkout: Checkout) -> str:
    """Build and push, as a release does."""
    return push_image.fn(operation, build_image.fn(operation, checkout))


@pytest.fixture
def engine(aws: FakeAws, operation: Operation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """An engine for the operation, and a docker client before all others."""
    folder = tmp_path / "client"
    folder.mkdir()
    made = FakeEngine(aws, folder)
    assert isinstance(operation.block, Block)
    operation.block.docker_host = made
    monkeypatch.setattr("tasks.image.metadata.answers_here", lambda: False)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return made


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A version's files: a Dockerfile, an ignore file and git's own."""
    root = tmp_path / "source"
    (root / ".git").mkdir(parents=True)
    (root / "app").mkdir()
    (root / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (root / ".dockerignore").write_text("node_modules\n!.git/config")
    return Checkout(Version.parse("v1.1.0"), COMMIT, root, ())


def configure(operation: Operation, more: str) -> None:
    assert isinstance(operation.block, Block)
    operation.block.settings = settings_with(more)


def history(operation: Operation) -> VersionRecord:
    found = operation.records.version("v1.1.0")
    assert found is not None
    return found


def outcomes(operation: Operation) -> dict[str, str | None]:
    return {s.name: s.outcome for s in operation.journal.steps}


IMAGE = f"{REPOSITORY}@{DIGEST}"


# --- built and pushed


def test_an_image_is_known_by_the_digest_that_ecr_holds(
    operation: Operation, engine: FakeEngine, checkout: Checkout
) -> None:
    assert image_of(operation, checkout) == IMAGE
    (tag,) = engine.pushed
    assert tag.startswith("v1.1.0__test.")
    (written,) = history(operation).images
    assert (written.tag, written.commit, written.built, written.digest) == (tag, COMMIT, CONFIG, DIGEST)


def test_what_was_built_is_on_record_before_it_is_pushed(
    operation: Operation, engine: FakeEngine, checkout: Checkout
) -> None:
    engine.lands, engine.lines, engine.breaks = None, [], docker.errors.DockerException("reset")
    with pytest.raises(UnknownOutcome):
        image_of(operation, checkout)
    (written,) = history(operation).images
    assert (written.built, written.digest) == (CONFIG, None)


def test_the_build_says_how_it_is_to_be_done(operation: Operation, engine: FakeEngine, checkout: Checkout) -> None:
    configure(operation, '[image]\ntarget = "production"\ncontext = "app"\n[image.build_args]\nAPI = "https://a"\n')
    image_of(operation, checkout)
    assert {"--target=production", "--build-arg=API=https://a", "--platform=linux/amd64"} <= set(engine.arguments)
    assert engine.arguments[-1] == str(checkout.directory / "app")
    assert f"--label=org.opencontainers.image.revision={COMMIT}" in engine.arguments


def test_a_build_client_sees_nothing_of_the_workers_secrets(
    operation: Operation, engine: FakeEngine, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "PREFECT_API_AUTH_STRING", "POINTSMAN_SOURCE_TOKEN"):
        monkeypatch.setenv(name, "not-for-builds")
    image_of(operation, checkout)
    seen = engine.said("environment")
    assert "not-for-builds" not in seen
    assert f"POINTSMAN_ATTEMPT={operation.owner.attempt}" in seen.splitlines()
    assert "BUILDX_NO_DEFAULT_ATTESTATIONS=1" in seen.splitlines()


# --- the platform


@pytest.mark.parametrize(
    ("platform", "architecture", "step", "tried"),
    [
        ("linux/amd64", "x86_64", "RUN x", None),
        ("linux/arm64", "aarch64", "RUN x", None),
        ("linux/arm64", "x86_64", "COPY a b", None),
        ("linux/arm64", "x86_64", "RUN x", "linux/arm64"),
        ("linux/amd64", "aarch64", "RUN x", "linux/amd64"),
    ],
)
def test_a_platform_that_is_not_the_engine_s_own_is_tried_and_refused_with_the_reason(
    operation: Operation,
    engine: FakeEngine,
    checkout: Checkout,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    architecture: str,
    step: str,
    tried: str | None,
) -> None:
    asked: list[str] = []

    def runs(platform: str, **_how: Any) -> bool:
        asked.append(platform)
        return False

    monkeypatch.setattr("tasks.image.runs_programs", runs)
    engine.architecture = architecture
    configure(operation, f'[image]\nplatform = "{platform}"\n')
    (checkout.directory / "Dockerfile").write_text(f"FROM scratch\n{step}\n")
    refused = pytest.raises(Refused, match=f"cannot build for {platform}: its machine is {architecture}")
    with refused if tried else nullcontext():
        image_of(operation, checkout)
    assert asked == ([tried] if tried else [])
    assert (f"--platform={platform}" in engine.arguments) is (tried is None)


# --- what a build reaches, and what it stands upon

BASE = "node:22"


@pytest.fixture
def probes(engine: FakeEngine, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A machine with credentials, and a probe that builds reach; what it was asked with."""
    asked: list[dict[str, Any]] = []

    def probe(base: str, **how: Any) -> tuple[str, ...]:
        asked.append({"base": base, **how})
        return ("169.254.169.254",)

    monkeypatch.setattr("tasks.image.metadata.answers_here", lambda: True)
    monkeypatch.setattr("tasks.image.metadata.reached_by_builds", probe)
    (checkout.directory / "Dockerfile").write_text(f"ARG BASE={BASE}\nFROM $BASE\n")
    return asked


def test_nothing_is_built_where_a_build_would_reach_the_machine_s_credentials(
    operation: Operation, engine: FakeEngine, checkout: Checkout, probes: list[dict[str, Any]]
) -> None:
    with pytest.raises(Refused, match=r"reach the machine's credentials: .* answer of 169\.254\.169\.254"):
        image_of(operation, checkout)
    assert engine.arguments == []
    (asked,) = probes
    assert (asked["base"], asked["network"]) == (BASE, "default")


@pytest.mark.parametrize(
    ("configured", "dockerfile"),
    [
        pytest.param('[docker]\nbuild_network = "none"\n', f"FROM {BASE}\n", id="no network"),
        pytest.param(EMULATED, f"FROM {BASE}\n", id="an emulated AWS"),
        pytest.param("", "FROM scratch\nCOPY . /\n", id="nothing to run"),
    ],
)
def test_no_look_is_taken_where_nothing_could_be_reached(
    operation: Operation,
    engine: FakeEngine,
    checkout: Checkout,
    probes: list[dict[str, Any]],
    configured: str,
    dockerfile: str,
) -> None:
    configure(operation, configured)
    (checkout.directory / "Dockerfile").write_text(dockerfile)
    image_of(operation, checkout)
    assert probes == []
    assert ("--network=none" in engine.arguments) is ("none" in configured)


@pytest.mark.parametrize(("host", "asked"), [("unix:///run/docker.sock", 0), ("tcp://builder:2376", 1)])
def test_an_engine_elsewhere_is_looked_at_whatever_this_machine_reaches(
    operation: Operation,
    engine: FakeEngine,
    checkout: Checkout,
    probes: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    asked: int,
) -> None:
    monkeypatch.setattr("tasks.image.metadata.answers_here", lambda: False)
    engine.base_url = host
    with pytest.raises(Refused) if asked else nullcontext():
        image_of(operation, checkout)
    assert len(probes) == asked


def test_an_image_without_a_shell_is_built_with_a_word(
    operation: Operation,
    engine: FakeEngine,
    checkout: Checkout,
    probes: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tasks.image.metadata.reached_by_builds", lambda *_, **__: None)
    assert image_of(operation, checkout) == IMAGE


@pytest.mark.parametrize("digest", ["", f"@{DIGEST}"])
@pytest.mark.parametrize("required", [True, False])
def test_a_base_image_without_a_digest_is_refused_where_digests_are_required(
    operation: Operation, engine: FakeEngine, checkout: Checkout, digest: str, required: bool
) -> None:
    configure(operation, f"[image]\nrequire_digests = {str(required).lower()}\n")
    (checkout.directory / "Dockerfile").write_text(f"FROM {BASE}{digest}\n")
    if required and not digest:
        with pytest.raises(Refused, match=f"Dockerfile builds on {BASE}: a tag may mean another image"):
            image_of(operation, checkout)
        assert engine.arguments == []
    else:
        assert image_of(operation, checkout) == IMAGE


def test_git_is_never_in_a_build_context_whatever_the_repository_says(
    operation: Operation, engine: FakeEngine, checkout: Checkout
) -> None:
    before = sorted(checkout.directory.rglob("*"))
    image_of(operation, checkout)
    assert engine.said("dockerfile") == "FROM scratch\nCOPY . /\n"
    ignored = engine.said("ignored").splitlines()
    assert ignored[:2] == ["node_modules", "!.git/config"]
    assert {".git", "**/.git"} <= set(ignored[2:])
    assert sorted(checkout.directory.rglob("*")) == before, "the checkout itself stays as it was tagged"


def test_an_ignore_file_of_the_dockerfiles_own_is_preferred(
    operation: Operation, engine: FakeEngine, checkout: Checkout
) -> None:
    (checkout.directory / "Dockerfile.dockerignore").write_text("only-this")
    image_of(operation, checkout)
    assert engine.said("ignored").splitlines()[0] == "only-this"


def test_a_build_that_fails_is_told_and_nothing_is_pushed(
    operation: Operation, engine: FakeEngine, checkout: Checkout
) -> None:
    engine.build_fails()
    with pytest.raises(Permanent, match=r"v1\.1\.0 could not be built: ERROR: no such stage"):
        image_of(operation, checkout)
    assert engine.pushed == []
    assert history(operation).images == ()


def test_a_build_that_names_no_image_is_not_pushed(
    operation: Operation, engine: FakeEngine, checkout: Checkout
) -> None:
    engine.build_makes("latest")
    with pytest.raises(Permanent, match="wrote 'latest' where the image's id is expected"):
        image_of(operation, checkout)
    assert engine.pushed == []


# --- nothing from outside the checkout


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("app", '[image]\ncontext = "app"\n'),
        ("Dockerfile", ""),
        (".dockerignore", ""),
        ("Dockerfile.dockerignore", ""),
    ],
)
def test_a_link_that_leads_out_of_the_checkout_is_refused(
    operation: Operation, engine: FakeEngine, checkout: Checkout, tmp_path: Path, name: str, more: str
) -> None:
    configure(operation, more)
    here = checkout.directory / name
    if here.is_dir():
        here.rmdir()
    here.unlink(missing_ok=True)
    here.symlink_to(tmp_path)
    with pytest.raises(Refused, match=f"{name} points outside the checkout"):
        image_of(operation, checkout)
    assert engine.arguments == []


def test_a_link_inside_the_checkout_is_followed(operation: Operation, engine: FakeEngine, checkout: Checkout) -> None:
    (checkout.directory / "Dockerfile").rename(checkout.directory / "app" / "Dockerfile")
    (checkout.directory / "Dockerfile").symlink_to("app/Dockerfile")
    assert image_of(operation, checkout) == IMAGE


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ('[image]\ndockerfile = "docker/Dockerfile"\n', "docker/Dockerfile was not found"),
        ('[image]\ndockerfile = "app"\n', "app cannot be read"),
        ('[image]\ncontext = "src"\n', "The build context src was not found"),
    ],
)
def test_what_is_not_in_the_checkout_is_refused_by_name(
    operation: Operation, engine: FakeEngine, checkout: Checkout, more: str, what: str
) -> None:
    configure(operation, more)
    with pytest.raises(Refused, match=what):
        image_of(operation, checkout)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('dockerfile = "../Dockerfile"', "outside the checkout"),
        ('context = "/srv"', "outside the checkout"),
        ('target = "--push"', "target"),
        ('build_args = { NPM = "https://ada:secret@npm.example.com" }', "NPM: a URL with credentials"),
        ('build_args = { NPM = "https://token@npm.example.com/" }', "NPM: a URL with credentials"),
        ('build_args = { DB = "postgresql://a:b@db/x" }', "DB: a URL with credentials"),
    ],
)
def test_settings_that_no_image_should_have_are_refused(line: str, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        settings_with(f"[image]\n{line}\n")
    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize("value", ["https://npm.example.com/@scope/x", "git@github.com:o/r", "a:b@c", "ssh://git@h/r"])
def test_a_build_argument_without_credentials_is_taken(value: str) -> None:
    settings: EnvironmentSettings = settings_with(f'[image]\nbuild_args = {{ A = "{value}" }}\n')
    assert settings.image.build_args == {"A": value}


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://github.com/o/r.git", "https://github.com/o/r.git"),
        ("https://x-access-token:SECRET@github.com/o/r.git", "https://github.com/o/r.git"),
        ("https://SECRET@git.example.com:8443/o/r", "https://git.example.com:8443/o/r"),
        ("git@github.com:o/r.git", "https://github.com/team/shop"),
        (".sandbox/git/shop.git", "https://github.com/team/shop"),
    ],
)
def test_the_source_label_never_holds_credentials(url: str, label: str) -> None:
    assert source_label(url, "team/shop") == label


# --- used again, or taken


def test_an_image_that_our_record_names_is_not_built_again(
    operation: Operation, engine: FakeEngine, checkout: Checkout
) -> None:
    image_of(operation, checkout)
    engine.build_fails()
    assert image_of(operation, checkout) == IMAGE
    assert len(engine.pushed) == 1
    assert outcomes(operation) == {"build": "skipped", "push": "skipped"}


@pytest.mark.parametrize(
    "more",
    [
        '[image.build_args]\nAPI = "https://production"\n',
        '[image]\ntarget = "production"\n',
        '[image]\ncontext = "app"\n',
    ],
)
def test_other_inputs_are_built_anew_under_the_same_version_beside_the_old_image(
    operation: Operation, engine: FakeEngine, aws: FakeAws, checkout: Checkout, more: str
) -> None:
    image_of(operation, checkout)
    configure(operation, more)
    engine.build_makes(OTHER)
    engine.lines, engine.lands = [{"aux": {"Digest": OTHER}}], OTHER
    assert image_of(operation, checkout) == f"{REPOSITORY}@{OTHER}"
    first, second = engine.pushed
    assert first != second
    assert aws.ecr.images == {first: DIGEST, second: OTHER}
    assert [i.digest for i in history(operation).images] == [DIGEST, OTHER]
    configure(operation, "")
    assert image_of(operation, checkout) == IMAGE, "the first inputs are the first image still"


def test_a_changed_dockerfile_is_another_image(operation: Operation, engine: FakeEngine, checkout: Checkout) -> None:
    image_of(operation, checkout)
    (checkout.directory / "Dockerfile").write_text("FROM scratch\n")
    image_of(operation, checkout)
    assert len(set(engine.pushed)) == 2


def foreign(operation: Operation, aws: FakeAws, engine: FakeEngine, checkout: Checkout) -> str:
    """Let somebody else hold the tag that this release would take; return it."""
    engine.lands, engine.lines = None, [{"error": "denied"}]
    with pytest.raises(PointsmanError):
        image_of(operation, checkout)
    tag = engine.pushed.pop()
    aws.ecr.images[tag] = OTHER
    aws.ecr.hold_image(OTHER, OTHER)
    return tag


def label(monkeypatch: pytest.MonkeyPatch, revision: str) -> None:
    config = {"config": {"Labels": {"org.opencontainers.image.revision": revision}}}

    def get(url: str, **_: Any) -> httpx.Response:
        return httpx.Response(200, json=config, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", get)


def test_a_foreign_image_with_a_copied_label_is_refused_and_nothing_is_built(
    operation: Operation, engine: FakeEngine, aws: FakeAws, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = foreign(operation, aws, engine, checkout)
    label(monkeypatch, COMMIT)
    (engine.folder / "arguments").unlink()
    with pytest.raises(Permanent, match=rf"The image tag {tag} is taken: ECR holds {OTHER} .*delete that image"):
        image_of(operation, checkout)
    assert engine.pushed == engine.arguments == []


def test_a_foreign_image_that_says_nothing_is_refused_as_well(
    operation: Operation, engine: FakeEngine, aws: FakeAws, checkout: Checkout
) -> None:
    foreign(operation, aws, engine, checkout)
    aws.ecr.fail("get_download_url_for_layer", Fault(lost()))
    with pytest.raises(Permanent, match=r"is taken.*its own revision label says none"):
        image_of(operation, checkout)


def test_a_foreign_image_that_was_pushed_between_look_and_push_is_refused(
    operation: Operation, engine: FakeEngine, aws: FakeAws, checkout: Checkout
) -> None:
    engine.lands, engine.lines = OTHER, [{"error": "tag invalid: already exists"}]
    aws.ecr.hold_image(OTHER, OTHER)
    aws.ecr.fail("get_download_url_for_layer", Fault(lost()))
    with pytest.raises(Permanent, match="is taken"):
        image_of(operation, checkout)


def test_what_another_stage_pushed_is_neither_used_nor_in_the_way(
    operation: Operation, engine: FakeEngine, aws: FakeAws, checkout: Checkout
) -> None:
    aws.ecr.images |= {"v1.1.0": OTHER, "v1.1.0__staging.12345678": OTHER}
    assert image_of(operation, checkout) == IMAGE


# --- the end of a push is what ECR holds


CONTAINERD = [{"status": f"v1.1.0: digest: {DIGEST} size: 856"}]
TAKEN = [{"error": "tag invalid: The image tag already exists and cannot be overwritten"}]


@pytest.mark.parametrize(
    "lines", [NAMED, CONTAINERD, TAKEN, []], ids=["classic", "containerd", "our own again", "mute"]
)
def test_a_push_is_done_once_ecr_holds_what_was_built(
    operation: Operation, engine: FakeEngine, checkout: Checkout, lines: list[dict[str, Any]]
) -> None:
    engine.lines = lines
    assert image_of(operation, checkout) == IMAGE
    assert [i.digest for i in history(operation).images] == [DIGEST]


BROKEN_OFF = [
    docker.errors.DockerException("connection reset"),
    docker.errors.APIError("server error"),
    requests.exceptions.ConnectionError("gone"),
]


@pytest.mark.parametrize("breaks", BROKEN_OFF)
def test_a_push_whose_answer_was_lost_is_settled_by_what_was_built(
    operation: Operation, engine: FakeEngine, checkout: Checkout, breaks: Exception
) -> None:
    engine.lines, engine.breaks = [], breaks
    assert image_of(operation, checkout) == IMAGE


@pytest.mark.parametrize("breaks", BROKEN_OFF)
def test_a_push_that_broke_off_before_it_was_done_is_not_taken_for_done(
    operation: Operation, engine: FakeEngine, checkout: Checkout, breaks: Exception
) -> None:
    engine.lines, engine.breaks, engine.lands = [], breaks, None
    with pytest.raises(UnknownOutcome, match="was interrupted"):
        image_of(operation, checkout)


def test_a_push_that_died_with_its_run_is_found_again(
    operation: Operation, engine: FakeEngine, aws: FakeAws, checkout: Checkout
) -> None:
    engine.lines, engine.breaks = [], KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        image_of(operation, checkout)
    assert [i.digest for i in history(operation).images] == [None]
    engine.build_fails()
    assert image_of(operation, checkout) == IMAGE
    assert len(engine.pushed) == 1


def test_a_push_that_ecr_refuses_is_told_with_its_reason(
    operation: Operation, engine: FakeEngine, checkout: Checkout
) -> None:
    engine.lines, engine.lands = [{"error": "denied: not authorized"}], None
    with pytest.raises(Permanent, match=r"ECR refused the push of .*: denied: not authorized"):
        image_of(operation, checkout)


def test_a_digest_that_ecr_does_not_show_is_no_push(
    operation: Operation, engine: FakeEngine, checkout: Checkout
) -> None:
    engine.lands = None
    with pytest.raises(UnknownOutcome, match=f"ECR does not show .*the push of {DIGEST}"):
        image_of(operation, checkout)


def test_a_look_at_ecr_that_fails_after_the_push_is_tried_again(
    operation: Operation, engine: FakeEngine, aws: FakeAws, checkout: Checkout
) -> None:
    engine.lines, engine.breaks = [], docker.errors.DockerException("reset")
    aws.ecr.fail("batch_get_image", Fault(lost(), meanwhile=lambda: None))
    with pytest.raises(Transient):
        image_of(operation, checkout)
    assert image_of(operation, checkout) == IMAGE


# --- indexes in the registry


AMD64 = {"digest": CHILD, "platform": {"os": "linux", "architecture": "amd64"}}
ARM64 = {"digest": OTHER, "platform": {"os": "linux", "architecture": "arm64"}}
ATTESTED = {
    "digest": ATTESTATION,
    "platform": {"os": "unknown", "architecture": "unknown"},
    "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": CHILD},
}
BARE_ATTESTATION = {"digest": ATTESTATION, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
DISGUISED = {**ATTESTED, "platform": {"os": "linux", "architecture": "amd64"}}
NEWER_AMD64 = {"digest": OTHER, "platform": {"os": "linux", "architecture": "amd64", "variant": "v3"}}


@pytest.mark.parametrize("tagged_as", [DIGEST, INDEX])
def test_both_kinds_of_image_are_read(aws: FakeAws, tagged_as: str) -> None:
    aws.ecr.images["plain"] = DIGEST
    aws.ecr.hold_index("index", INDEX, ATTESTED, AMD64, ARM64)
    aws.ecr.hold_image(CHILD, CONFIG)
    found = find_image(aws.clients, "team/shop", "index" if tagged_as == INDEX else "plain")
    assert found is not None
    assert (found.digest, found.configuration) == (tagged_as, CONFIG)


@pytest.mark.parametrize(
    ("children", "child"),
    [
        ((AMD64,), CHILD),
        ((ATTESTED, AMD64), CHILD),
        ((BARE_ATTESTATION, AMD64), CHILD),
        ((ARM64, AMD64), CHILD),
        ((ARM64,), None),
        ((), None),
        ((AMD64, NEWER_AMD64), None),
        ((AMD64, DISGUISED), None),
        ((AMD64, {"digest": OTHER}), None),
        (({"digest": CHILD},), None),
    ],
    ids=["one", "attested", "bare", "two platforms", "other", "none", "two", "disguised", "or any", "any"],
)
def test_the_child_of_an_index_counts_only_if_no_other_could_run(
    aws: FakeAws, children: tuple[dict[str, Any], ...], child: str | None
) -> None:
    aws.ecr.hold_index("index", INDEX, *children)
    aws.ecr.hold_image(CHILD, CONFIG)
    found = find_image(aws.clients, "team/shop", "index")
    assert found is not None
    assert found.contents == ({INDEX, CHILD, CONFIG} if child else {INDEX})


@pytest.mark.parametrize("built", [CONFIG, CHILD, INDEX], ids=["configuration", "manifest", "index"])
@pytest.mark.parametrize("lines", [[], [{"status": f"v1.1.0: digest: {INDEX} size: 856"}]], ids=["mute", "named"])
def test_a_pushed_index_is_known_by_its_own_digest_whatever_id_the_client_gave(
    operation: Operation,
    engine: FakeEngine,
    aws: FakeAws,
    checkout: Checkout,
    built: str,
    lines: list[dict[str, Any]],
) -> None:
    configure(operation, "[image]\nattestations = true\n")
    engine.build_makes(built)
    engine.lines, engine.lands = lines, INDEX
    aws.ecr.manifests[INDEX] = ("application/vnd.oci.image.index.v1+json", {"manifests": [ATTESTED, AMD64]})
    aws.ecr.hold_image(CHILD, CONFIG)
    assert image_of(operation, checkout) == f"{REPOSITORY}@{INDEX}"
    assert "BUILDX_NO_DEFAULT_ATTESTATIONS=0" in engine.said("environment").splitlines()


def test_an_image_that_ecr_cannot_show_is_not_taken_for_absent(aws: FakeAws) -> None:
    aws.ecr.unreadable = "KmsError"
    with pytest.raises(Permanent, match="ECR could not return the image team/shop:v1: KmsError"):
        find_image(aws.clients, "team/shop", "v1")


# --- the worker's disk


def kept(version: str, age: int, digest: str | None = None) -> dict[str, Any]:
    return {
        "RepoTags": [f"{REPOSITORY}:{version}__test.12345678"],
        "RepoDigests": [f"{REPOSITORY}@{digest}"] if digest else None,
        "Created": 1_000 - age,
    }


def tag_of(version: str) -> str:
    return f"{REPOSITORY}:{version}__test.12345678"


def test_old_images_and_old_cache_go_after_a_release(operation: Operation, engine: FakeEngine) -> None:
    configure(operation, '[docker]\nkeep_images = 2\nbuild_cache = "1.5GB"\n')
    engine.local = [
        kept("v1.0.0", 9, DIGEST),
        kept("v0.9.0", 8),
        kept("v0.8.0", 7),
        *(kept(f"v2.{n}.0", n) for n in (0, 1)),
    ]
    prune_worker.fn(operation)
    assert engine.removed == [tag_of("v0.8.0"), tag_of("v0.9.0")], "what is live stays, and so do the newest two"
    assert engine.cache_left == [1_500_000_000]


def test_an_image_that_a_container_uses_stays(operation: Operation, engine: FakeEngine) -> None:
    configure(operation, "[docker]\nkeep_images = 1\n")
    engine.local = [kept("v2.0.0", 0), kept("v0.9.0", 8), kept("v0.8.0", 9)]
    engine.used = {tag_of("v0.9.0")}
    prune_worker.fn(operation)
    assert engine.removed == [tag_of("v0.8.0")]


@pytest.mark.parametrize("breaks", [*BROKEN_OFF, requests.exceptions.ReadTimeout("too long")])
def test_a_prune_that_fails_fails_no_release(operation: Operation, engine: FakeEngine, breaks: Exception) -> None:
    engine.breaks = breaks
    prune_worker.fn(operation)
    assert engine.removed == []
    assert engine.cache_left == [10_000_000_000], "the cache is pruned although the images could not be listed"
