"""What the load balancer asks a candidate follows its release, while its slot is empty, and never the live colour's."""

from __future__ import annotations

import pytest

from core.colour import Colour
from core.errors import Refused, UnknownOutcome
from core.health_check import fault_of_matcher, matches
from operation.operation import Operation
from tasks.candidate import set_health_check
from tests.unit.facts import BLUE_GROUP, GREEN_GROUP, release, settings_with
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


def test_a_health_check_alone_makes_no_other_release() -> None:
    other = release("v1.0.0", health_check_path="/livez", health_check_matcher="204")
    assert other.revision == release("v1.0.0").revision


def test_a_matcher_is_set_with_the_path_and_back_by_a_release_that_knows_none(
    aws: FakeAws, operation: Operation
) -> None:
    operation.journal.change(
        lambda a: a.pinned(release("v1.1.0", health_check_path="/up", health_check_matcher="200-399"))
    )
    set_health_check.fn(operation)
    assert (aws.elbv2.health_paths[GREEN_GROUP], aws.elbv2.matchers[GREEN_GROUP]) == ("/up", "200-399")
    assert operation.journal.attempt.steps[-1].detail == "green is now checked at /up for 200-399 (before: /healthz)"
    set_health_check.fn(releasing(operation, None))
    assert (aws.elbv2.health_paths[GREEN_GROUP], aws.elbv2.matchers[GREEN_GROUP]) == ("/up", "200")


@pytest.mark.parametrize(
    ("matcher", "status", "healthy"),
    [
        ("200", 200, True),
        ("200", 204, False),
        ("200,302", 302, True),
        ("200-399", 399, True),
        ("200-399", 400, False),
        ("200-204,401", 401, True),
        ("200-204,401", 300, False),
    ],
)
def test_which_statuses_are_healthy(matcher: str, status: int, healthy: bool) -> None:
    assert fault_of_matcher(matcher) is None
    assert matches(status, matcher) is healthy


@pytest.mark.parametrize(
    ("matcher", "fault"),
    [
        ("", "'' is neither a status nor a range"),
        ("2xx", "'2xx' is neither"),
        ("200, 204", "' 204' is neither"),
        ("200-", "'200-' is neither"),
        ("199", "199 is outside 200 to 499"),
        ("200-599", "200-599 is outside 200 to 499"),
        ("399-200", "399-200 begins after its end"),
    ],
)
def test_what_no_load_balancer_takes_for_a_matcher_is_said(matcher: str, fault: str) -> None:
    assert (fault_of_matcher(matcher) or "").startswith(fault)
    with pytest.raises(Refused, match=r"service\.health_check_matcher"):
        settings_with(desired_count=f'1\nhealth_check_matcher = "{matcher}"')
