"""Looks side by side: none hides or delays another, what two need is read once, and a release heeds them."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from blocks.environment import PROJECT
from core.errors import Permanent, Refused
from core.preflight.catalogue import CHECKS
from core.preflight.judgement import Check, Judgement, Verdict, failed, passed
from core.version import Version
from operation.lease import now
from operation.operation import Operation
from systems.docker import current_driver
from systems.identity import read_caller
from systems.terraform_provider import read_lock_file, required_version
from tasks.checkout import Checkout
from tasks.preflight import steps
from tasks.preflight.ground import Ground, Look
from tasks.preflight.looking import look_at
from tests.unit.facts import COMMIT, owner, settings_with
from tests.unit.fakes import FakeAws, operation_of

FAULTLESS = "FROM node:22\nRUN npm ci --ignore-scripts\n"


def checks(*names: str) -> list[Check]:
    return [Check(name, "it", "it is not", f"Fix {name} in {{stage}}.", fast=True) for name in names]


def found(operation: Operation, looks: dict[str, Look], within: float = 5) -> dict[str, tuple[Verdict, str]]:
    report = look_at(Ground(operation), checks(*looks), looks, within=within)
    return {finding.check.name: (finding.verdict, finding.seen) for finding in report.findings}


def test_there_is_a_look_for_each_check_and_no_other() -> None:
    assert set(steps.LOOKS) == {check.name for check in CHECKS}
    assert {check.name for check in (*steps.FAST, *steps.FILES)} == {check.name for check in CHECKS if check.fast}


@pytest.mark.parametrize("engine", ["alembic", "command"])
@pytest.mark.parametrize("check", ["task", "task role", "database reachable"])
def test_an_image_that_need_not_have_node_is_not_looked_into(operation: Operation, engine: str, check: str) -> None:
    operation.block.settings = settings_with(f'\n[migration]\nengine = "{engine}"\ncommand = ["migrate"]\n')
    verdict, seen = found(operation, {check: steps.LOOKS[check]})[check]
    assert verdict is Verdict.UNKNOWN
    assert f"migration.engine = '{engine}'" in seen


def test_a_look_that_breaks_hides_no_other(operation: Operation) -> None:
    def denied(_: Ground) -> Judgement:
        raise Permanent("AWS does not allow reading it", why="AccessDenied")

    def broken(_: Ground) -> Judgement:
        raise KeyError("Endpoint")

    seen = found(operation, {"denied": denied, "broken": broken, "good": lambda _: passed("well")})
    assert seen == {
        "denied": (Verdict.UNKNOWN, "AWS does not allow reading it: AccessDenied."),
        "broken": (Verdict.UNKNOWN, "KeyError: 'Endpoint'"),
        "good": (Verdict.PASS, "well"),
    }


def test_a_look_that_hangs_delays_no_other_and_fails_nothing(operation: Operation) -> None:
    forever = threading.Event()

    def hangs(_: Ground) -> Judgement:
        forever.wait(300)
        return passed("too late")

    began = time.monotonic()
    seen = found(operation, {"hangs": hangs, "good": lambda _: passed("well")}, within=2.0)
    assert time.monotonic() - began < 60
    forever.set()
    assert seen == {"hangs": (Verdict.UNKNOWN, "no answer within 2 s"), "good": (Verdict.PASS, "well")}


def test_what_two_looks_need_is_read_once(operation: Operation) -> None:
    ground, calls = Ground(operation), []

    def read() -> int:
        time.sleep(0)
        calls.append(1)
        return 7

    seen: list[int] = []
    threads = [threading.Thread(target=lambda: seen.append(ground.once("it", read))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (seen, len(calls)) == ([7] * 8, 1)


def test_an_error_is_read_once_as_well(operation: Operation) -> None:
    ground, calls = Ground(operation), []

    def read() -> int:
        calls.append(1)
        raise Permanent("It is denied")

    for _ in range(2):
        with pytest.raises(Permanent, match="It is denied"):
            ground.once("it", read)
    assert len(calls) == 1


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Judgement]:
    """What the fast looks find; by itself, that all is well."""
    found = {check.name: passed("well") for check in CHECKS}
    for name in found:
        monkeypatch.setitem(steps.LOOKS, name, lambda _, name=name: found[name])
    return found


def test_a_release_is_refused_with_the_names_and_fixes_of_what_failed(
    operation: Operation, looked: dict[str, Judgement]
) -> None:
    looked["webhook secret"] = failed("fewer than 16 characters")
    looked["clock"] = failed("31 s ahead of AWS")
    with pytest.raises(Refused, match=r"clock \(31 s ahead of AWS\); webhook secret \(fewer than 16") as refused:
        steps.check_readiness.fn(operation)
    assert "clock: Let chrony" in str(refused.value)
    assert "python -m blocks register test" in str(refused.value)


def test_what_was_not_looked_at_refuses_no_release(operation: Operation, looked: dict[str, Judgement]) -> None:
    looked["quotas"] = failed("only the full preflight looks")
    steps.check_readiness.fn(operation)


def test_a_run_that_goes_on_after_its_approval_does_not_look_again(
    operation: Operation, aws: FakeAws, looked: dict[str, Judgement]
) -> None:
    looked["clock"] = failed("31 s ahead of AWS")
    operation.lease.park(now() + timedelta(hours=1))
    steps.check_readiness.fn(operation_of(aws, operation.settings, owner(pid=9)))
    with pytest.raises(Refused, match="31 s ahead"):
        steps.check_readiness.fn(operation_of(aws, operation.settings, owner("run-2", pid=9)))


LOCK = b'{"ID": "1", "Who": "worker@machine", "Created": "2026-03-01T11:00:00.5Z"}'
LOCK_KEY = "terraform/test/slot-blue.tfstate.tflock"


def test_a_lock_without_a_holder_is_a_fault_and_one_of_a_run_is_none(operation: Operation, aws: FakeAws) -> None:
    look = steps.LOOKS["state lock"]
    assert look(Ground(operation)).verdict is Verdict.PASS
    aws.s3.objects[LOCK_KEY] = (LOCK, "etag")
    assert look(Ground(operation)).seen.endswith("by the run in flight")
    operation.lease.drop()
    judged = look(Ground(operation))
    assert judged.verdict is Verdict.FAIL
    assert "`python -m flows unlock test --state blue`" in judged.fix


def test_a_run_that_begins_while_the_locks_are_read_is_no_fault(operation: Operation, aws: FakeAws) -> None:
    aws.s3.objects[LOCK_KEY] = (LOCK, "etag")
    ground = Ground(operation)
    ground.once("record", lambda: operation.record.leased(None))
    assert steps.LOOKS["state lock"](ground).verdict is Verdict.PASS


def source(directory: Path, **files: str) -> Checkout:
    for name, text in {"Dockerfile": FAULTLESS, **files}.items():
        path = directory / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Checkout(Version.parse("v1.1.0"), COMMIT, directory, ())


def test_the_tags_own_files_are_looked_at(operation: Operation, tmp_path: Path) -> None:
    steps.check_files.fn(operation, source(tmp_path))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"Dockerfile": "FROM node:22\nRUN npx prisma migrate deploy\n"}, r"Dockerfile \(a RUN step calls"),
        (
            {
                "Dockerfile": "FROM node:22\nRUN npm ci\n",
                "package.json": '{"scripts": {"postinstall": "prisma migrate deploy"}}',
            },
            "its install runs the script postinstall",
        ),
        (
            {
                ".github/workflows/deploy.yml": "on:\n  push:\n    tags: ['v*']\njobs:\n  d:\n    steps:\n"
                "      - run: terraform apply -auto-approve\n"
            },
            r"old workflow \(\.github/workflows/deploy\.yml",
        ),
    ],
)
def test_files_that_would_act_beside_a_release_refuse_it(
    operation: Operation, tmp_path: Path, files: dict[str, str], says: str
) -> None:
    with pytest.raises(Refused, match=says):
        steps.check_files.fn(operation, source(tmp_path, **files))


def test_a_link_out_of_the_checkout_is_not_read(operation: Operation, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text(FAULTLESS)
    made = source(tmp_path / "inside")
    (made.directory / "Dockerfile").unlink()
    (made.directory / "Dockerfile").symlink_to(tmp_path / "outside")
    with pytest.raises(Refused, match="Dockerfile does not exist"):
        steps.check_files.fn(operation, made)


@pytest.mark.parametrize(("ahead", "skew"), [(0.4, 0), (100, 100), (-100, -100)])
def test_the_clocks_skew_is_read_from_the_answers_date(
    monkeypatch: pytest.MonkeyPatch, ahead: float, skew: float
) -> None:
    monkeypatch.setattr("systems.identity.time.time", lambda: 1_700_000_000.0 + ahead)
    headers = {"date": "Tue, 14 Nov 2023 22:13:20 GMT"}  # 1,700,000,000
    answer = {"Arn": "arn", "Account": "1", "ResponseMetadata": {"HTTPHeaders": headers}}
    caller = read_caller(SimpleNamespace(get_caller_identity=lambda: answer))
    assert caller.skew == pytest.approx(skew, abs=1)


def test_an_answer_without_a_date_says_nothing_of_the_clock() -> None:
    assert read_caller(SimpleNamespace(get_caller_identity=lambda: {"Arn": "a", "Account": "1"})).skew is None


@pytest.mark.parametrize(
    ("output", "driver"),
    [
        ("Driver: docker\n", "docker"),
        ("Driver:   docker-container\n", "docker-container"),
        ("", "docker"),
    ],
)
def test_the_current_builders_driver_is_read(tmp_path: Path, output: str, driver: str) -> None:
    client = tmp_path / "docker"
    client.write_text(f"#!/bin/sh\nprintf '{output}'\n")
    client.chmod(0o755)
    assert current_driver(str(client), {}) == driver
    assert current_driver(str(tmp_path / "none"), {}) == "docker"


def test_a_root_says_what_it_requires_and_locks(tmp_path: Path) -> None:
    root = PROJECT / "terraform/slot"
    lock = read_lock_file(root)
    assert lock is not None
    assert lock.version == "5.100.0"
    assert lock.checksums > 10
    assert required_version(root) == ">= 1.10"
    assert read_lock_file(tmp_path) is None
