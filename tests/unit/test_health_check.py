"""What the load balancer asks a candidate follows its release, while its slot is empty, and never the live colour's."""

from __future__ import annotations

import pytest

from core.colour import Colour
from core.errors import UnknownOutcome
from operation.operation import Operation
from tasks.candidate import set_health_check
from tests.unit.facts import BLUE_GROUP, GREEN_GROUP, release
from tests.unit.fakes import FakeAws, Fault, lost


def releasing(operation: Operation, path: str | None) -> Operation:
    assert operation.candidate.colour is Colour.GREEN
    operation.journal.change(lambda a: a.pinned(release("v1.1.0", health_check_path=path)))
    return operation


def test_a_new_path_is_asked_of_the_candidate_only(aws: FakeAws, operation: Operation) -> None:
    set_health_check.fn(releasing(operation, "/livez"))
    assert aws.elbv2.health_paths == {GREEN_GROUP: "/livez"}
    assert BLUE_GROUP not in aws.elbv2.health_paths
    assert operation.journal.attempt.steps[-1].detail == "green is now checked at /livez (before: /healthz)"


@pytest.mark.parametrize("path", ["/healthz", None])
def test_nothing_is_written_where_the_group_asks_it_already_or_an_old_record_says_nothing(
    path: str | None, aws: FakeAws, operation: Operation
) -> None:
    set_health_check.fn(releasing(operation, path))
    assert aws.elbv2.count("modify_target_group") == 0


def test_an_answer_that_was_lost_leads_to_a_look(aws: FakeAws, operation: Operation) -> None:
    aws.elbv2.fail("modify_target_group", Fault(lost(), lands=True))
    set_health_check.fn(releasing(operation, "/livez"))
    assert aws.elbv2.count("modify_target_group") == 1

    aws.elbv2.fail("modify_target_group", Fault(lost()))
    with pytest.raises(UnknownOutcome, match="are checked at /livez, not at /other"):
        set_health_check.fn(releasing(operation, "/other"))


def test_a_path_alone_makes_no_other_release() -> None:
    assert release("v1.0.0", health_check_path="/livez").revision == release("v1.0.0").revision
