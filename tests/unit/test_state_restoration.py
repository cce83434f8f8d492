"""Which version of a state is restored: by what is in it, by the records and by AWS. Nothing is guessed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from core.colour import Colour
from core.errors import Refused
from core.known_resources import account_resources, environment_resources, slot_resources
from core.record import EnvironmentRecord
from core.state_restoration import (
    Known,
    StateContent,
    StoredVersion,
    Survey,
    applied_there,
    planned_changes,
    read_state,
    refuse_lost_state,
    survey,
    with_serial,
)
from tests.unit.facts import INFRASTRUCTURE, NOON, environment, live, settings_with

OURS, OTHERS = "0b1f8e52-ours", "ffffffff-others"
SERVICE = "arn:aws:ecs:eu-west-1:123456789012:service/team-shop-test/shop-test-blue"
ONE, TWO = (f"arn:aws:ecs:eu-west-1:123456789012:task-definition/team-shop-test-blue:{n}" for n in (1, 2))
KNOWN = (
    Known("aws_ecs_service.slot", SERVICE, "team-shop-test/shop-test-blue"),
    Known("aws_ecs_task_definition.service", TWO, TWO, replaceable=True),
)


def state(
    serial: int = 3, *, lineage: str = OURS, service: str | None = SERVICE, runs: str = TWO, **more: Any
) -> bytes:
    """A state as Terraform lays it out."""
    resources = [_resource("aws_ecs_task_definition", "service", arn=runs, id="team-shop-test-blue")]
    if service:
        resources.append(_resource("aws_ecs_service", "slot", id=service))
    content = {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": serial,
        "lineage": lineage,
        "outputs": {"service_name": {"value": "shop-test-blue", "type": "string"}},
        "resources": resources,
        "check_results": None,
        **more,
    }
    return json.dumps(content, indent=2).encode()


def _resource(kind: str, name: str, index: str | int | None = None, **attributes: str) -> dict[str, Any]:
    instance = {"schema_version": 0, "attributes": attributes, **({} if index is None else {"index_key": index})}
    return {"mode": "managed", "type": kind, "name": name, "provider": "aws", "instances": [instance]}


def history(*contents: bytes | None, restored: dict[int, str] | None = None) -> list[StoredVersion]:
    """Versions `v1`, `v2`, … of an object, of which the last is the newest; as S3 lists them, newest first."""
    made = [
        StoredVersion(f"v{n}", NOON + timedelta(minutes=n), content, content and f'"{n}"', (restored or {}).get(n))
        for n, content in enumerate(contents, 1)
    ]
    return made[::-1]


def surveyed(*contents: bytes | None, known: tuple[Known, ...] = KNOWN, **facts: Any) -> Survey:
    given: dict[str, Any] = {"named": {}, "terraform": "1.11.4", **facts}
    restored = given.pop("restored", None)
    return survey("blue", history(*contents, restored=restored), known, **given)


@pytest.mark.parametrize(
    ("contents", "proposed", "trouble"),
    [
        pytest.param((state(2), state(3)), "v2", "nothing", id="nothing is wrong"),
        pytest.param((state(2), state(3), None), "v2", "it was deleted at 2026-03-01 12:03:00 UTC", id="deleted"),
        pytest.param((state(3), state(4)[:200]), "v1", "it is not JSON", id="cut off"),
        pytest.param((state(3), b""), "v1", "it is not JSON", id="emptied"),
        pytest.param((state(3), b"[]"), "v1", "not a Terraform state of format 4", id="something else"),
        pytest.param((state(3), state(4, version=3)), "v1", "not a Terraform state of format 4", id="another format"),
        pytest.param((state(3), state(4, lineage="")), "v1", "no lineage or no serial", id="without a lineage"),
        pytest.param((state(3), state(4, resources="x")), "v1", "its resources cannot be read", id="wrong resources"),
        pytest.param(
            (state(2), state(3), state(2)), "v2", "an older one was put back over", id="an older one put back"
        ),
        pytest.param(
            (state(3), state(9, lineage=OTHERS, service=None)), "v1", "another lineage", id="of another lineage"
        ),
        pytest.param((state(3), state(4, service=None)), "v1", "lacks aws_ecs_service.slot", id="without what exists"),
        pytest.param((state(3), None, None), "v1", "it was deleted", id="deleted twice"),
    ],
)
def test_what_is_wrong_and_what_is_proposed(contents: tuple[bytes | None, ...], proposed: str, trouble: str) -> None:
    found = surveyed(*contents)
    assert found.proposed is not None
    assert found.proposed.version.id == proposed
    assert trouble in found.trouble
    assert found.sound is (trouble == "nothing")


def test_the_lineage_is_that_of_what_exists_and_not_of_the_many() -> None:
    found = surveyed(state(3), *(state(n, lineage=OTHERS, service=None) for n in range(4, 9)))
    assert found.proposed is not None
    assert found.proposed.version.id == "v1"


def test_where_nothing_is_known_to_exist_the_records_tell_the_lineage() -> None:
    contents = (state(3), *(state(n, lineage=OTHERS) for n in range(4, 9)))
    named = {"v1": "v1.0.0 left it"}
    proposed = surveyed(*contents, known=(), named=named).proposed
    assert proposed is not None
    assert (proposed.version.id, proposed.named) == ("v1", "v1.0.0 left it")
    others = surveyed(*contents, known=()).proposed
    assert others is not None
    assert others.version.id == "v6"


def test_what_an_apply_did_not_finish_is_a_difference_and_no_fault() -> None:
    """Terraform registered :2 and died before the service had it: the newest state is the right one all the same."""
    runs_one = (KNOWN[0], Known("aws_ecs_task_definition.service", ONE, ONE, replaceable=True))
    found = surveyed(state(2, runs=ONE), state(3, runs=TWO), known=runs_one)
    assert found.sound
    assert found.proposed is not None
    assert found.proposed.differences == (f"aws_ecs_task_definition.service is {TWO}, and {ONE} runs",)


def test_what_is_gone_from_aws_is_a_difference() -> None:
    gone = (Known("aws_ecs_service.slot", SERVICE, "x", exists=False),)
    found = surveyed(state(3), known=gone)
    assert found.proposed is not None
    assert found.proposed.differences == (f"it holds aws_ecs_service.slot ({SERVICE}), which no longer exists",)
    assert found.imports == ()


# --- choosing


def test_nothing_is_chosen_where_all_is_well_or_a_dead_restore_wrote_it_already() -> None:
    assert surveyed(state(2), state(3)).choose(None) is None
    assert surveyed(state(2), state(3)).choose("v2") is None
    done = surveyed(state(2), None, state(3), restored={3: "v1"})
    assert done.choose(None) is None
    assert done.choose("v1") is None


def test_a_human_may_choose_an_older_one_that_fits() -> None:
    chosen = surveyed(state(2, runs=ONE), state(3)).choose("v1")
    assert chosen is not None
    assert chosen.version.id == "v1"


@pytest.mark.parametrize(
    ("version_id", "contents", "why"),
    [
        ("v9", (state(3),), "it has no version v9 among its newest 1.* fits best is v1"),
        ("v2", (state(3), None), "v2 does not fit: it was deleted here.* fits best is v1"),
        ("v2", (state(3), state(4, service=None)), "v2 does not fit: it lacks aws_ecs_service.slot"),
        (None, (b"{", None), "no version of it fits: v2: it was deleted here; v1: it is not JSON"),
        (None, (), "no version of it fits: there is none"),
        (None, (state(3, terraform_version="1.12.0"), None), "Terraform 1.12.0 wrote version v1, and 1.11.4 runs here"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    version_id: str | None, contents: tuple[bytes | None, ...], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        surveyed(*contents).choose(version_id)


def test_where_no_version_is_left_the_imports_are_said() -> None:
    with pytest.raises(Refused) as caught:
        surveyed(None).choose(None)
    assert "terraform import 'aws_ecs_service.slot' 'team-shop-test/shop-test-blue'" in str(caught.value)
    assert f"terraform import 'aws_ecs_task_definition.service' '{TWO}'" in str(caught.value)


# --- what is written


def test_the_serial_is_above_all_that_were_written() -> None:
    assert surveyed(state(7), state(3), b"{").next_serial == 8
    assert surveyed().next_serial == 1


@pytest.mark.parametrize("serial", [4, 12_345])
def test_nothing_but_the_serial_is_changed(serial: int) -> None:
    given = state(3, outputs={"serial": {"value": '  "serial": 3,', "type": "string"}, "n": {"value": 1.10}})
    written = with_serial(given, serial)
    assert written.replace(b'  "serial": %d,' % serial, b'  "serial": 3,', 1) == given
    assert json.loads(with_serial(json.dumps(json.loads(given)).encode(), serial)) == json.loads(written)


def test_a_state_is_read_with_its_addresses_and_identities() -> None:
    content = state(
        resources=[
            _resource("aws_lb_listener", "test", "blue", id="l-1", arn="arn:l-1"),
            _resource("aws_instance", "one", 0, id="i-1"),
            {**_resource("aws_eip", "nat", id="e-1"), "module": "module.net"},
            {**_resource("aws_partition", "current", id="aws"), "mode": "data"},
        ]
    )
    assert read_state(content) == StateContent(
        OURS,
        3,
        "1.11.4",
        {
            'aws_lb_listener.test["blue"]': frozenset({"l-1", "arn:l-1"}),
            "aws_instance.one[0]": frozenset({"i-1"}),
            "module.net.aws_eip.nat": frozenset({"e-1"}),
        },
        {"service_name": "shop-test-blue"},
    )


def test_what_was_shown_is_another_with_each_version_that_comes() -> None:
    prints = {surveyed(*contents).fingerprint for contents in ((state(3),), (state(3), None), (state(3), state(4)))}
    assert len(prints) == 3
    assert surveyed(state(3)).fingerprint == surveyed(state(3)).fingerprint


# --- what a release and a plan say


@pytest.mark.parametrize(
    ("newest", "applied", "lost"),
    [
        (None, None, ""),
        (None, "v1.0.0 was applied there", "no version of it is left, although v1.0.0 was applied there"),
        (history(None)[0], None, "it was deleted at 2026-03-01 12:01:00 UTC"),
        (history(b"{")[0], None, "it is not JSON"),
        (history(state())[0], "v1.0.0 was applied there", ""),
    ],
)
def test_a_lost_state_is_refused_before_anything_is_planned(
    newest: StoredVersion | None, applied: str | None, lost: str
) -> None:
    if not lost:
        refuse_lost_state("test", "blue", newest, applied=applied)
        return
    with pytest.raises(Refused, match=lost) as caught:
        refuse_lost_state("test", "blue", newest, applied=applied)
    assert "python -m flows restore-state test --state blue" in str(caught.value)


@pytest.mark.parametrize(
    ("record", "known", "applied"),
    [
        (environment(), "blue", None),
        (environment(live=live("v1.0.0")), "blue", "v1.0.0 was applied there"),
        (environment(live=live("v1.0.0")), "green", None),
        (environment(live=live("v1.1.0", Colour.GREEN), healthy=(live("v1.0.0"),)), "blue", "v1.0.0 was applied there"),
        (environment(), "environment", "the record names what `provision` made"),
        (environment(infrastructure=None), "environment", None),
        (environment(live=live("v1.0.0")), "account", None),
    ],
)
def test_what_the_record_knows_to_have_been_applied(record: EnvironmentRecord, known: str, applied: str | None) -> None:
    assert applied_there(record, known) == applied


def test_a_plan_is_told_by_address_action_and_members() -> None:
    def change(address: str, *actions: str, before: Any = None, after: Any = None, **more: Any) -> dict[str, Any]:
        return {"address": address, "change": {"actions": list(actions), "before": before, "after": after, **more}}

    plan = {
        "resource_changes": [
            change("a.same", "no-op", before={"x": 1}, after={"x": 1}),
            change("a.read", "read"),
            change("a.new", "create", after={"x": 1}),
            change("a.on", "update", before={"x": 1, "y": 1}, after={"x": 2, "y": 1}, after_unknown={"z": True}),
            change("a.both", "delete", "create", before={"x": 1}, after={"x": 2}),
        ]
    }
    assert planned_changes(plan) == ("create a.new", "update a.on (x, z)", "replace a.both (x)")


# --- what is known to exist


def test_a_slot_s_resources_are_those_that_its_service_names() -> None:
    known = slot_resources(settings_with(), Colour.BLUE, runs=TWO, migrates=f"{TWO}-m")
    assert [(k.address, k.identity, k.replaceable) for k in known] == [
        ("aws_ecs_service.slot", SERVICE, False),
        ("aws_ecs_task_definition.service", TWO, True),
        ("aws_ecs_task_definition.migration", f"{TWO}-m", True),
    ]
    (absent,) = slot_resources(settings_with(), Colour.BLUE, runs=None, migrates=None)
    assert not absent.exists


def test_an_environment_s_resources_are_those_of_the_record() -> None:
    known = {k.address: (k.identity, k.import_id) for k in environment_resources(settings_with(), INFRASTRUCTURE)}
    assert known["aws_ecs_cluster.main"] == (INFRASTRUCTURE.cluster_arn, "team-shop-test")
    assert known['aws_lb_listener.test["green"]'][0] == INFRASTRUCTURE.test_listener_arns[Colour.GREEN]
    assert known['aws_subnet.private["eu-west-1b"]'] == ("subnet-2", "subnet-2")
    assert known["aws_iam_role.task"][1] == "team-shop-test-task"
    assert len(known) == 12
    other = environment_resources(
        settings_with('\n[provision.environment]\nzone_letters = ["c", "a"]\n'), INFRASTRUCTURE
    )
    assert 'aws_subnet.private["eu-west-1c"]' in {k.address for k in other if k.identity == "subnet-2"}


def test_of_the_account_the_repository_is_known() -> None:
    (known,) = account_resources(settings_with())
    assert known.identity == "arn:aws:ecr:eu-west-1:123456789012:repository/team/shop"
