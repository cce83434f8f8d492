"""CloudTrail's event history: what is asked, what counts as a write, and whose it was."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, cast

import pytest

from core.drift import ENVIRONMENT, Difference, TrailEvent
from core.errors import Permanent, Transient
from systems.aws import AwsClients
from systems.cloudtrail import Trail
from tests.unit.facts import NOON
from tests.unit.fakes import refusal


class FakeTrail:
    """`lookup_events`, in one page or several, by region."""

    def __init__(self, *events: dict[str, Any], page: int = 50) -> None:
        self.events, self.page, self.asked = list(events), page, []  # type: ignore[var-annotated]
        self.error: Exception | None = None

    def __call__(self, service: str, region: str | None = None) -> FakeTrail:
        assert service == "cloudtrail"
        self.region = region
        return self

    def lookup_events(self, **asked: Any) -> dict[str, Any]:
        self.asked.append({**asked, "Region": self.region})
        if self.error is not None:
            raise self.error
        [attribute] = asked["LookupAttributes"]
        key, value = attribute["AttributeKey"], attribute["AttributeValue"]
        fits = [e for e in self.events if self._fits(e, key, value)]
        start = int(asked.get("NextToken", 0))
        shown = fits[start : start + self.page]
        more = {"NextToken": str(start + self.page)} if start + self.page < len(fits) else {}
        return {"Events": shown, **more}

    @staticmethod
    def _fits(event: dict[str, Any], key: str, value: str) -> bool:
        if key == "EventSource":
            return bool(event["EventSource"] == value)
        return value in [one["ResourceName"] for one in event["Resources"]]


def event(name: str, *resources: str, who: str = "ada", minutes: int = 0, read: str = "false", **content: Any) -> Any:
    source = content.pop("source", "ec2")
    told = {"userIdentity": {"arn": f"arn:aws:iam::1:user/{who}"}, **content}
    return {
        "EventName": name,
        "EventSource": f"{source}.amazonaws.com",
        "EventTime": NOON + timedelta(minutes=minutes),
        "ReadOnly": read,
        "Username": who,
        "Resources": [{"ResourceName": one} for one in resources],
        "CloudTrailEvent": json.dumps(told),
    }


def trail(fake: FakeTrail, partition: str = "aws") -> tuple[Trail, list[float]]:
    paused: list[float] = []
    return Trail(cast(AwsClients, fake), partition, pause=paused.append), paused


def differs(*names: str, service: str = "ec2") -> Difference:
    return Difference(ENVIRONMENT, "aws_x.y", "z", "1", "2", names, service)


def test_the_writes_that_name_the_resource() -> None:
    fake = FakeTrail(
        event("DescribeSecurityGroups", "sg-1", read="true"),
        event("AuthorizeSecurityGroupIngress", "sg-1", minutes=2),
        event("AuthorizeSecurityGroupIngress", "sg-2"),
        event("RevokeSecurityGroupIngress", "sg-1", who="bob", minutes=1, errorCode="Client.UnauthorizedOperation"),
    )
    found = trail(fake)[0].writes(differs("sg-1"), NOON)
    assert found == [
        TrailEvent("AuthorizeSecurityGroupIngress", "arn:aws:iam::1:user/ada", NOON + timedelta(minutes=2)),
        TrailEvent(
            "RevokeSecurityGroupIngress",
            "arn:aws:iam::1:user/bob",
            NOON + timedelta(minutes=1),
            "Client.UnauthorizedOperation",
        ),
    ]
    assert fake.asked[0]["StartTime"] == NOON
    assert fake.asked[0]["Region"] is None


def test_each_name_is_tried_until_one_is_known() -> None:
    fake = FakeTrail(event("PutRetentionPolicy", "logs"))
    assert [e.name for e in trail(fake)[0].writes(differs("arn:logs", "logs"), None)] == ["PutRetentionPolicy"]
    assert [one["LookupAttributes"][0]["AttributeValue"] for one in fake.asked] == ["arn:logs", "logs"]
    assert "StartTime" not in fake.asked[0]


def test_where_a_service_names_no_resources_its_own_events_are_searched() -> None:
    fake = FakeTrail(
        event("UpdateService", source="ecs", requestParameters={"service": "shop-test-blue"}),
        event("UpdateService", source="ecs", requestParameters={"service": "shop-test-blue-2"}),
        event("DescribeServices", source="ecs", read="true", requestParameters={"service": "shop-test-blue"}),
        event("Modify", requestParameters={"service": "shop-test-blue"}),
    )
    assert [e.name for e in trail(fake)[0].writes(differs("shop-test-blue", service="ecs"), None)] == ["UpdateService"]


@pytest.mark.parametrize(
    ("partition", "region"), [("aws", "us-east-1"), ("aws-us-gov", "us-gov-west-1"), ("aws-elsewhere", None)]
)
def test_iam_s_events_are_where_iam_has_its_home(partition: str, region: str | None) -> None:
    fake = FakeTrail(event("PutRolePolicy", "task", source="iam"))
    assert trail(fake, partition)[0].writes(differs("task", service="iam"), None)
    assert fake.asked[0]["Region"] == region


def test_pages_are_read_slowly_and_not_for_ever() -> None:
    fake = FakeTrail(*(event(f"Call{n}", "sg-1", minutes=n) for n in range(9)), page=2)
    asked, paused = trail(fake)
    assert len(asked.writes(differs("sg-1"), None)) == 8
    assert paused == [0.5] * 4


def test_a_question_is_asked_once() -> None:
    fake = FakeTrail(event("Call", "sg-1"))
    asked, _ = trail(fake)
    assert asked.writes(differs("sg-1"), NOON) == asked.writes(differs("sg-1"), NOON)
    assert len(fake.asked) == 1


def test_who_is_told_as_far_as_the_event_does() -> None:
    service = event("Call", "sg-1") | {
        "CloudTrailEvent": json.dumps({"userIdentity": {"invokedBy": "ecs.amazonaws.com"}})
    }
    broken = event("Call", "sg-2", who="bob") | {"CloudTrailEvent": "{"}
    asked, _ = trail(FakeTrail(service, broken))
    assert [e.who for e in asked.writes(differs("sg-1"), None)] == ["ecs.amazonaws.com"]
    assert [e.who for e in asked.writes(differs("sg-2"), None)] == ["bob"]


def test_nothing_is_asked_about_what_has_no_name() -> None:
    fake = FakeTrail()
    assert trail(fake)[0].writes(differs(), None) == []
    assert fake.asked == []


@pytest.mark.parametrize(("code", "kind"), [("AccessDeniedException", Permanent), ("ThrottlingException", Transient)])
def test_what_cloudtrail_refuses_is_ours_to_name(code: str, kind: type[Exception]) -> None:
    fake = FakeTrail()
    fake.error = refusal(code)
    with pytest.raises(kind, match="looking up CloudTrail's events of sg-1"):
        trail(fake)[0].writes(differs("sg-1"), None)
