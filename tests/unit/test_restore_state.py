"""A state is restored: asked of a human, under the leases and Terraform's lock, seen afterwards; nothing is applied."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from core.colour import Colour, Weights
from core.ending import Ending
from core.errors import Permanent, Refused, Transient, UnknownOutcome
from core.history import State
from core.state_restoration import read_state
from flows.restore_state import restore
from lifecycle.abort import abort_attempt
from operation.operation import Operation
from systems.presence import is_present
from systems.processes import owner_of
from systems.records import RecordStore
from systems.state_versions import StateVersions
from systems.terraform import Plan, Root, state_key
from tasks.plan import init_slot
from tasks.state import STATES
from tasks.state_decision import Question, RestoreDecision
from tests.unit.facts import COMMIT, INFRASTRUCTURE, attempt, environment, live, owner, release, settings_with, slot_of
from tests.unit.fakes import FakeAws, Fault, before_the_next_write, lost, operation_of, refusal
from tests.unit.test_state_restoration import ONE, OTHERS, state

KEY = "terraform/test/slot-blue.tfstate"
LOCK = f"{KEY}.tflock"
RUNS = "shop-test-blue:1"
GOOD = state(3, runs=RUNS)


@dataclass
class Terraform:
    """What the steps ask of Terraform: which it is, and what a plan would change."""

    changes: list[str] = field(default_factory=list)
    planned_on: list[str] = field(default_factory=list)

    def version(self) -> str:
        return "1.11.4"

    def open_root(self, name: str, state_key: str) -> Root:
        return Root(name, Path(), state_key)

    def open_root_on(self, name: str, state: bytes) -> Root:
        return Root(name, Path(), f"a copy with serial {json.loads(state)['serial']}")

    def plan(self, root: Root, _variables: object) -> Plan:
        self.planned_on.append(root.state_key)
        changed = [{"address": a, "change": {"actions": ["create"]}} for a in self.changes]
        return Plan(root, Path(), "ab" * 32, {"resource_changes": changed})


@dataclass
class Published:
    texts: list[str] = field(default_factory=list)

    def __call__(self, *, key: str, markdown: str, description: str) -> None:
        assert key == "state-test-blue"
        assert description == "State of blue in test"
        self.texts.append(markdown)


@pytest.fixture
def terraform(monkeypatch: pytest.MonkeyPatch) -> Terraform:
    made = Terraform()
    monkeypatch.setattr(Operation, "terraform", property(lambda _operation: made))
    return made


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    made = Published()
    monkeypatch.setattr("tasks.state.create_markdown_artifact", made)
    return made


@pytest.fixture
def ours(aws: FakeAws, no_waiting: None, no_run_log: None, terraform: Terraform, published: Published) -> Operation:
    """A restore in an environment where v1.0.0 is live in blue, by the definition that its apply registered."""
    made = operation_of(aws, settings_with(), owner("res-1", flow="restore-state", pid=os.getpid()))
    aws.ecs.definitions[RUNS] = aws.ecs.definitions.pop("shop-test-blue:1")
    made.records.change_environment(lambda _: environment(live=live("v1.0.0"), weights=Weights.all_on(Colour.BLUE)))
    applied = attempt(
        State.HEALTHY, colour=Colour.BLUE, slot=slot_of(RUNS), release=release("v1.0.0"), state_version_after='"3"'
    )
    made.records.change_version("v1.0.0", COMMIT, lambda h: h.model_copy(update={"attempts": (applied,)}))
    return made


def write(aws: FakeAws, *contents: bytes | None) -> list[str]:
    """Write versions of blue's state; return their ids."""
    for content in contents:
        if content is None:
            aws.s3.delete_object(Bucket="b", Key=KEY)
        else:
            aws.s3.put_object(Bucket="b", Key=KEY, Body=content)
    return [version.id for version in aws.s3.versions[KEY]]


def newest(aws: FakeAws) -> bytes:
    return aws.s3.objects[KEY][0]


def typing(*answers: str) -> Callable[[str], str]:
    given = list(answers)
    return lambda _shown: given.pop(0)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(None, id="deleted"),
        pytest.param(GOOD[:300], id="cut off"),
        pytest.param(state(1, runs=ONE), id="an older one put back"),
        pytest.param(state(9, lineage=OTHERS, service=None), id="of another lineage"),
    ],
)
def test_a_state_that_was_lost_or_broken_is_restored(
    ours: Operation, aws: FakeAws, terraform: Terraform, published: Published, broken: bytes | None
) -> None:
    good, _ = write(aws, GOOD, broken)
    said = restore(ours, "blue", read=typing(f"test {good}"))
    assert said == f"Version {good} of the state of blue is the newest again; a plan on it changes nothing."
    restored = read_state(newest(aws))
    assert not isinstance(restored, str)
    assert restored.serial == (10 if broken and OTHERS.encode() in broken else 4)
    assert json.loads(newest(aws)) == {**json.loads(GOOD), "serial": restored.serial}
    assert aws.s3.versions[KEY][-1].metadata == {"pointsman-restored-from": good}
    assert LOCK not in aws.s3.objects
    assert ours.records.environment().lease is None
    assert terraform.planned_on == ["a copy with serial 3", KEY]
    assert f"| `{good}` |" in published.texts[0]
    assert published.texts[0].count("| v1.0.0 left it |") == 1
    assert "Nothing was applied." in published.texts[-1]


def test_what_a_plan_would_change_is_listed_and_not_applied(
    ours: Operation, aws: FakeAws, terraform: Terraform
) -> None:
    terraform.changes = ["aws_ecs_service.slot"]
    good, _ = write(aws, GOOD, None)
    shown: list[str] = []

    def read(text: str) -> str:
        shown.append(text)
        return f"test {good}"

    said = restore(ours, "blue", read=read)
    assert said.endswith("a plan on it would make 1 change: create aws_ecs_service.slot. Nothing was applied.")
    assert "After it Terraform would: create aws_ecs_service.slot." in shown[0]
    assert f"`{good}`" in shown[0]


def test_where_all_is_well_nothing_is_asked_or_written(ours: Operation, aws: FakeAws) -> None:
    write(aws, GOOD)
    written = aws.s3.written
    said = restore(ours, "blue", read=lambda _: pytest.fail("it asked"))
    assert said == "The state of blue is sound; a plan on it changes nothing."
    assert aws.s3.written == written


@pytest.mark.parametrize("typed", ["", "yes", "test", '"1"', 'prod "1"', 'test "2"'])
def test_any_other_answer_changes_nothing(ours: Operation, aws: FakeAws, typed: str) -> None:
    write(aws, state(2, runs=RUNS), None)
    written = aws.s3.written
    with pytest.raises(Refused, match=r"is not the environment's name and the version's id"):
        restore(ours, "blue", read=typing(typed))
    with pytest.raises(Refused, match=r"is not the environment's name and the version's id"):
        restore(ours, "blue", confirm=typed)
    assert aws.s3.written == written


@pytest.mark.parametrize("typed", ["good", "other"])
def test_a_deployment_s_run_asks_in_the_ui(
    ours: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    good, _ = write(aws, GOOD, None)
    asked: list[str] = []

    def suspend(*, wait_for_input: type[RestoreDecision], timeout: int, key: str) -> RestoreDecision:
        asked.append(f"{key} {wait_for_input._description}")
        return RestoreDecision(environment="test", version_id=good if typed == "good" else "x", name="Ann")

    monkeypatch.setattr("tasks.state_decision.suspend_flow_run", suspend)
    monkeypatch.setattr("tasks.state_decision.deployment", SimpleNamespace(name="test"))
    if typed == "good":
        assert restore(ours, "blue", read=lambda _: pytest.fail("it asked here")).startswith(f"Version {good}")
    else:
        with pytest.raises(Refused, match="'test x' is not the environment's name"):
            restore(ours, "blue")
    key, _, form = asked[0].partition(" ")
    assert re.fullmatch(r"restore-blue-[0-9a-f]{12}-[0-9a-f]{12}-res-1-1", key), "Prefect takes nothing else in a key"
    assert f"`{good}`" in form
    assert "After it Terraform would change nothing." in form


def test_an_answer_belongs_to_the_version_and_to_what_was_shown() -> None:
    keys = {Question("blue", v, f, "").key(a) for v in ("a", "b+/c") for f in ("1", "2") for a in ("r-1", "r-2")}
    assert len(keys) == 8
    assert all(re.fullmatch(r"[a-z0-9-]+", key) for key in keys)


def test_a_shell_without_a_terminal_is_told_what_to_type(ours: Operation, aws: FakeAws) -> None:
    def read(_shown: str) -> str:
        raise EOFError

    good, _ = write(aws, GOOD, None)
    with pytest.raises(Refused) as caught:
        restore(ours, "blue", read=read)
    assert f"--confirm 'test {good}'" in str(caught.value)
    assert restore(ours, "blue", confirm=f"test {good}").startswith(f"Version {good}")


def test_what_was_typed_for_other_versions_than_these_changes_nothing(ours: Operation, aws: FakeAws) -> None:
    good, _ = write(aws, GOOD, None)

    def meanwhile(_shown: str) -> str:
        write(aws, state(5, runs=RUNS))
        return f"test {good}"

    with pytest.raises(Refused, match="it has other versions than those that were shown"):
        restore(ours, "blue", read=meanwhile)
    assert newest(aws) == state(5, runs=RUNS)


def test_who_writes_between_the_look_and_the_write_is_not_run_over(
    ours: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, _ = write(aws, GOOD, None)
    put = aws.s3.put_object

    def slower(**arguments: Any) -> Any:
        if arguments["Key"] == KEY and "Metadata" in arguments:
            monkeypatch.setattr(aws.s3, "put_object", put)
            write(aws, state(5, runs=RUNS))
        return put(**arguments)

    monkeypatch.setattr(aws.s3, "put_object", slower)
    with pytest.raises(Refused, match="it changed since it was looked at"):
        restore(ours, "blue", confirm=f"test {good}")
    assert newest(aws) == state(5, runs=RUNS)
    assert LOCK not in aws.s3.objects


@pytest.mark.parametrize("lands", [True, False])
def test_an_answer_that_was_lost_leads_to_a_look(
    ours: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, lands: bool
) -> None:
    good, _ = write(aws, GOOD, None)
    put = aws.s3.put_object

    def loses(**arguments: Any) -> Any:
        if arguments["Key"] == KEY and "Metadata" in arguments:
            monkeypatch.setattr(aws.s3, "put_object", put)
            aws.s3.fail("put_object", Fault(lost(), lands=lands))
        return put(**arguments)

    monkeypatch.setattr(aws.s3, "put_object", loses)
    if lands:
        assert restore(ours, "blue", confirm=f"test {good}").startswith(f"Version {good}")
        assert json.loads(newest(aws))["serial"] == 4
    else:
        with pytest.raises(UnknownOutcome, match="was lost"):
            restore(ours, "blue", confirm=f"test {good}")
        assert KEY not in aws.s3.objects


def test_a_state_that_terraform_works_on_is_left_alone(ours: Operation, aws: FakeAws) -> None:
    good, _ = write(aws, GOOD, None)
    told = {"ID": "lock-1", "Who": "ada@laptop", "Created": "2026-03-01T12:00:00.123456789Z"}
    aws.s3.objects[LOCK] = (json.dumps(told).encode(), '"9"')
    with pytest.raises(Refused, match=r"The state of blue is locked: by ada@laptop.*unlock test --state blue"):
        restore(ours, "blue", confirm=f"test {good}")
    assert KEY not in aws.s3.objects
    assert LOCK in aws.s3.objects


def test_an_environment_that_somebody_holds_is_left_alone(ours: Operation, aws: FakeAws) -> None:
    good, _ = write(aws, GOOD, None)
    other = operation_of(aws, settings_with(), owner("run-2", pid=os.getpid()))
    other.lease.take("v1.1.0", lambda _record: None)
    with pytest.raises(Refused, match=r"test is held by release v1\.1\.0"):
        restore(ours, "blue", confirm=f"test {good}")
    other.lease.stop_heartbeat()
    assert KEY not in aws.s3.objects


def test_a_restore_that_died_after_its_write_is_done_when_it_is_run_again(
    ours: Operation, aws: FakeAws, terraform: Terraform, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, _ = write(aws, GOOD, None)

    def dies(*_: object) -> None:
        raise Permanent("It died")

    with monkeypatch.context() as dying:
        dying.setattr("flows.restore_state.see_state", dies)
        with pytest.raises(Permanent, match="It died"):
            restore(ours, "blue", confirm=f"test {good}")
    written = aws.s3.versions[KEY][-1].id
    ours.lease.drop()
    for version_id in (None, good):
        assert restore(ours, "blue", version_id).startswith("The state of blue is sound")
    assert aws.s3.versions[KEY][-1].id == written


def test_what_a_dead_restore_had_locked_is_released(ours: Operation, aws: FakeAws) -> None:
    ours.lease.take(None, lambda _record: None)
    held = ours.record.lease
    assert held is not None
    dead = held.model_copy(update={"owner": held.owner.model_copy(update={"host": _host()})})
    context = ours.state_locks.held("blue", "OperationTypeRestore", ours.owner)
    context.__enter__()
    assert LOCK in aws.s3.objects
    abort_attempt(ours, Ending(State.FAILED, "restore state", "it died"), dead)
    assert LOCK not in aws.s3.objects
    ours.lease.stop_heartbeat()


def _host() -> str:
    return owner_of("restore-state", "x", "x-1").host


@pytest.mark.parametrize("name", ["Blue", "records", "slot-blue", ""])
def test_a_state_that_does_not_exist_is_refused(ours: Operation, name: str) -> None:
    with pytest.raises(Refused, match=f"Name one of {', '.join(STATES)}"):
        restore(ours, name)


# --- what all environments share, and what lies below the slots


def of_root(kind: str, name: str, arn: str, serial: int) -> bytes:
    resource = {"mode": "managed", "type": kind, "name": name, "instances": [{"attributes": {"arn": arn}}]}
    return state(serial, resources=[resource], outputs={"pipeline_role_arns": {"value": {}}})


@pytest.mark.parametrize("root", ["account", "environment"])
def test_the_roots_below_the_slots_are_restored_too(
    ours: Operation, aws: FakeAws, terraform: Terraform, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    repository = "arn:aws:ecr:eu-west-1:123456789012:repository/team/shop"
    kind, name, arn = {
        "account": ("aws_ecr_repository", "application", repository),
        "environment": ("aws_ecs_cluster", "main", INFRASTRUCTURE.cluster_arn),
    }[root]
    monkeypatch.setattr("tasks.state.create_markdown_artifact", lambda **_: None)
    monkeypatch.setattr("tasks.state.is_present", lambda _aws, identity: identity == arn)
    key = state_key("test", root)
    if root == "environment":
        outputs = of_root("aws_ecr_repository", "application", repository, 1)
        aws.s3.put_object(Bucket="b", Key=state_key("test", "account"), Body=outputs)
    for content in (of_root(kind, name, arn, 3), state(9, resources=[])):
        aws.s3.put_object(Bucket="b", Key=key, Body=content)
    good = aws.s3.versions[key][0].id
    assert restore(ours, root, confirm=f"test {good}").endswith("a plan on it changes nothing.")
    assert json.loads(aws.s3.objects[key][0])["serial"] == 10
    assert terraform.planned_on == ["a copy with serial 3", key]
    for environment_name in ("test", "account"):
        assert RecordStore(aws.s3, "b", environment_name).environment().lease is None


def test_an_environment_s_plan_needs_the_account_s_state(
    ours: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.state.create_markdown_artifact", lambda **_: None)
    monkeypatch.setattr("tasks.state.is_present", lambda _aws, _identity: False)
    aws.s3.put_object(Bucket="b", Key=state_key("test", "environment"), Body=state(3, resources=[]))
    with pytest.raises(Refused, match=r"The state of account is lost or broken: it is missing.*--state account"):
        restore(ours, "environment")


# --- the release's refusal


@pytest.mark.parametrize(
    ("contents", "why"),
    [((GOOD, None), "it was deleted"), ((GOOD, b"{"), "it is not JSON"), ((), "no version of it is")],
)
def test_a_release_into_a_slot_whose_state_is_lost_is_refused_with_the_way_out(
    ours: Operation, aws: FakeAws, contents: tuple[bytes | None, ...], why: str
) -> None:
    ours.records.change_environment(lambda r: r.model_copy(update={"healthy": (live("v0.9.0"),)}))
    ours.journal.begin_attempt("v1.1.0", COMMIT, Colour.BLUE)
    if contents:
        write(aws, *contents)
    with pytest.raises(Refused, match=f"The state of blue is lost or broken: {why}") as caught:
        init_slot.fn(ours)
    assert "python -m flows restore-state test --state blue" in str(caught.value)


# --- versions in the bucket


@pytest.fixture
def versions(aws: FakeAws) -> StateVersions:
    return StateVersions(aws.s3, "team-shop-state", "123456789012")


def test_versions_are_the_object_s_own_newest_first(aws: FakeAws, versions: StateVersions) -> None:
    ids = write(aws, b"1", b"2", None, b"3")
    aws.s3.put_object(Bucket="b", Key=LOCK, Body=b"lock")
    assert [v.id for v in versions.read(KEY, limit=9)] == ids[::-1]
    assert [v.content for v in versions.read(KEY, limit=9)] == [b"3", None, b"2", b"1"]
    assert [v.content for v in versions.read(KEY, limit=2)] == [b"3", None]
    assert versions.newest("terraform/test/slot-green.tfstate") is None


def test_versions_are_read_to_the_last_page(
    aws: FakeAws, versions: StateVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = write(aws, b"1", b"2", b"3")
    whole = aws.s3.list_object_versions

    def paged(*, KeyMarker: str = "", VersionIdMarker: str = "", **asked: Any) -> Any:  # noqa: N803
        found = whole(**asked)["Versions"]
        start = next((n + 1 for n, v in enumerate(found) if v["VersionId"] == VersionIdMarker), 0)
        page, more = found[start : start + 1], start + 1 < len(found)
        last = {"NextKeyMarker": KEY, "NextVersionIdMarker": page[-1]["VersionId"]} if more else {}
        return {"Versions": page, "IsTruncated": more, **last}

    monkeypatch.setattr(aws.s3, "list_object_versions", paged)
    assert [v.id for v in versions.read(KEY, limit=9)] == ids[::-1]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (lost(), Transient),
        (refusal("AccessDenied", 403), Permanent),
        (refusal("InternalError", 500), Transient),
        (refusal("SlowDown", 503), Transient),
    ],
)
def test_a_state_is_not_taken_for_lost_where_s3_did_not_answer(
    aws: FakeAws, versions: StateVersions, error: Exception, raised: type[Exception]
) -> None:
    write(aws, GOOD)
    for call in ("list_object_versions", "get_object"):
        aws.s3.fail(call, Fault(error))
        with pytest.raises(raised):
            versions.newest(KEY)


@pytest.mark.parametrize("lands", [True, False])
def test_a_lock_whose_answer_was_lost_is_looked_for(ours: Operation, aws: FakeAws, lands: bool) -> None:
    aws.s3.fail("put_object", Fault(lost(), lands=lands))
    context = ours.state_locks.held("blue", "OperationTypeRestore", ours.owner)
    if not lands:
        with pytest.raises(UnknownOutcome):
            context.__enter__()
        return
    with context:
        found = ours.state_locks.read("blue")
        assert found is not None
        assert found.who.endswith(os.uname().nodename)
    assert ours.state_locks.read("blue") is None


@pytest.mark.parametrize("dead", [True, False])
def test_a_lock_of_ours_that_landed_after_its_process_died_is_released(
    ours: Operation, aws: FakeAws, dead: bool
) -> None:
    here = owner_of("restore-state", "dead", "dead-1")
    theirs = here.model_copy(update={"pid": 2**22 + 1}) if dead else here
    good, _ = write(aws, GOOD, None)
    with ours.state_locks.held("blue", "OperationTypeRestore", theirs):
        if dead:
            assert restore(ours, "blue", confirm=f"test {good}").startswith(f"Version {good}")
            assert LOCK not in aws.s3.objects
        else:
            with pytest.raises(Refused, match="The state of blue is locked"):
                restore(ours, "blue", confirm=f"test {good}")


# --- what AWS has


class Account:
    """Clients that answer each look with what they were given, or with AWS's error."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer, self.asked = answer, ""

    def __call__(self, service: str) -> Account:
        self.asked = service
        return self

    def __getattr__(self, call: str) -> Callable[..., Any]:
        def answer(**_arguments: object) -> Any:
            self.asked += f".{call}"
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return answer


@pytest.mark.parametrize(
    ("identity", "asked", "answer", "missing"),
    [
        (INFRASTRUCTURE.cluster_arn, "ecs.describe_clusters", {"clusters": [{"status": "ACTIVE"}]}, {"clusters": []}),
        (
            INFRASTRUCTURE.cluster_arn,
            "ecs.describe_clusters",
            {"clusters": [{"status": "ACTIVE"}]},
            {"clusters": [{"status": "INACTIVE"}]},
        ),
        (
            INFRASTRUCTURE.production_listener_arn,
            "elbv2.describe_listeners",
            {"Listeners": [1]},
            refusal("ListenerNotFound"),
        ),
        (
            INFRASTRUCTURE.target_group_arns[Colour.BLUE],
            "elbv2.describe_target_groups",
            {"TargetGroups": [1]},
            refusal("TargetGroupNotFound"),
        ),
        ("subnet-1", "ec2.describe_subnets", {"Subnets": [1]}, refusal("InvalidSubnetID.NotFound")),
        ("sg-1", "ec2.describe_security_groups", {"SecurityGroups": [1]}, refusal("InvalidGroup.NotFound")),
        (INFRASTRUCTURE.task_role_arn, "iam.get_role", {"Role": {"Arn": "x"}}, refusal("NoSuchEntity", 404)),
        (
            "arn:aws:ecr:eu-west-1:123456789012:repository/team/shop",
            "ecr.describe_repositories",
            {"repositories": [1]},
            refusal("RepositoryNotFoundException"),
        ),
        (
            "team-shop-test",
            "logs.describe_log_groups",
            {"logGroups": [{"logGroupName": "team-shop-test"}]},
            {"logGroups": [{"logGroupName": "team-shop-test-2"}]},
        ),
    ],
)
def test_what_aws_has_is_asked_by_what_it_is(
    identity: str, asked: str, answer: dict[str, Any], missing: dict[str, Any] | Exception
) -> None:
    account = Account(answer)
    assert is_present(cast(Any, account), identity)
    assert account.asked == asked
    assert not is_present(cast(Any, Account(missing)), identity)
    with pytest.raises(Permanent):
        is_present(cast(Any, Account(refusal("AccessDenied", 403))), identity)


def test_a_race_for_the_record_is_no_race_for_the_state(
    ours: Operation, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, _ = write(aws, GOOD, None)
    store = operation_of(aws, settings_with(), owner("other")).records
    before_the_next_write(
        monkeypatch, aws.s3, lambda: store.change_environment(lambda r: r.model_copy(update={"last_failure": "x"}))
    )
    assert restore(ours, "blue", confirm=f"test {good}").startswith(f"Version {good}")
