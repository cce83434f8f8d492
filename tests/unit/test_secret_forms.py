"""Where secrets come from: each form reaches root, record and container by its address; what can't work is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.colour import Colour
from core.errors import Refused
from core.infrastructure import refuse_foreign_infrastructure
from core.plan_guard import guard_slot_plan
from core.preflight.secret import SecretSeen, faults_of_secret, judge_secrets
from core.record import EnvironmentRecord
from core.release import Configuration
from core.root_variables import environment_variables, slot_variables
from core.secret import SecretReference
from core.settings import EnvironmentSettings
from core.slot_shape import SlotPlan
from systems.parameters import describe_parameter
from tests.unit.facts import INFRASTRUCTURE, release, settings_with
from tests.unit.test_plan_guard import MIGRATION, container, load

OWN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret"
THEIRS = "arn:aws:secretsmanager:eu-west-1:999999999999:secret:shared-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-west-1:123456789012:parameter"

# The reference, what the root `environment` is given, what it records, and what the container gets.
FORMS: list[tuple[str, dict[str, list[str]], dict[str, dict[str, str]], str]] = [
    (
        'secret = "team/shop"\nkey = "URL"',
        {"secret_names": ["team/shop"]},
        {"secret_arns": {"team/shop": f"{OWN}:team/shop-AbCdEf"}},
        f"{OWN}:team/shop-AbCdEf:URL::",
    ),
    (
        'secret = "team/shop"',
        {"secret_names": ["team/shop"]},
        {"secret_arns": {"team/shop": f"{OWN}:team/shop-AbCdEf"}},
        f"{OWN}:team/shop-AbCdEf",
    ),
    (
        'secret = "rds!db-1f2e3d"\nkey = "password"',
        {"secret_names": ["rds!db-1f2e3d"]},
        {"secret_arns": {"rds!db-1f2e3d": f"{OWN}:rds!db-1f2e3d-AbCdEf"}},
        f"{OWN}:rds!db-1f2e3d-AbCdEf:password::",
    ),
    (f'secret = "{THEIRS}"', {"secret_arns": [THEIRS]}, {"secret_arns": {THEIRS: THEIRS}}, THEIRS),
    (
        f'secret = "{THEIRS}"\nkey = "URL"',
        {"secret_arns": [THEIRS]},
        {"secret_arns": {THEIRS: THEIRS}},
        f"{THEIRS}:URL::",
    ),
    (
        'parameter = "/shop/url"',
        {"parameter_names": ["/shop/url"]},
        {"parameter_arns": {"/shop/url": f"{PARAMETER}/shop/url"}},
        f"{PARAMETER}/shop/url",
    ),
    (
        'parameter = "url"',
        {"parameter_names": ["url"]},
        {"parameter_arns": {"url": f"{PARAMETER}/url"}},
        f"{PARAMETER}/url",
    ),
    (
        f'parameter = "{PARAMETER}/shop/url"',
        {"parameter_names": [f"{PARAMETER}/shop/url"]},
        {"parameter_arns": {f"{PARAMETER}/shop/url": f"{PARAMETER}/shop/url"}},
        f"{PARAMETER}/shop/url",
    ),
]
each = pytest.mark.parametrize(("form", "given", "recorded", "value_from"), FORMS)


def of_the_service(form: str) -> EnvironmentSettings:
    return settings_with(f"[service.secrets.URL]\n{form}\n")


@each
def test_a_form_reaches_the_root_the_record_and_the_container(
    form: str, given: dict[str, Any], recorded: dict[str, Any], value_from: str
) -> None:
    settings, infrastructure = of_the_service(form), INFRASTRUCTURE.model_copy(update=recorded)
    variables = environment_variables(settings, EnvironmentRecord(environment="test"), {})
    names = ("secret_names", "secret_arns", "parameter_names", "secret_key_arns")
    assert {name: variables[name] for name in names if variables[name]} == given
    refuse_foreign_infrastructure(infrastructure, settings)
    made = Configuration.of(settings, infrastructure.secret_sources)
    assert made.secrets == {"URL": value_from}
    to = release("v1.0.0").model_copy(update={"configuration": made})
    assert slot_variables(settings, infrastructure, Colour.BLUE, to)["secrets"] == {"URL": value_from}


@each
def test_a_form_that_provision_does_not_know_yet_is_refused(
    form: str, given: dict[str, Any], recorded: dict[str, Any], value_from: str
) -> None:
    with pytest.raises(Refused, match="was not provisioned with the secrets "):
        Configuration.of(of_the_service(form), {})


@pytest.mark.parametrize(
    "recorded",
    [
        {"secret_arns": {"team/shop": THEIRS}},
        {"secret_arns": {THEIRS: f"{OWN}:other-AbCdEf"}},
        {"parameter_arns": {"/shop/url": f"{PARAMETER}/other"}},
        {"parameter_arns": {f"{PARAMETER}/a": f"{PARAMETER}/b"}},
    ],
)
def test_a_record_that_leads_to_another_secret_is_refused(recorded: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="names infrastructure that is not its own"):
        refuse_foreign_infrastructure(INFRASTRUCTURE.model_copy(update=recorded), settings_with())


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ('key = "URL"', "needs either secret or parameter"),
        ('secret = "a"\nparameter = "b"', "needs either secret or parameter"),
        ('parameter = "b"\nkey = "k"', "key goes with secret alone"),
        ('secret = "postgresql://app:pw@db/x"', "is not a secret's name"),
        ('secret = "a"\nkey = "a:b"', "has a colon"),
        (f'secret = "{OWN}:shared"', "not the whole ARN of a secret"),
        (f'secret = "{THEIRS}:URL::"', "a JSON key goes into key"),
        ('parameter = "/a//b"', "neither a parameter's name"),
        (f'secret = "{THEIRS.replace("eu-west-1", "us-east-1")}"', "in another region than eu-west-1"),
        ('secret = "a"\n[service]\nsecret_keys = ["alias/mine"]', "secret_keys"),
        (
            'secret = "a"\n[service]\nsecret_keys = ["arn:aws:kms:us-east-1:123456789012:key/0a"]',
            "key/0a: in another region than eu-west-1",
        ),
    ],
)
def test_what_can_t_work_is_refused_with_the_reason(form: str, reason: str) -> None:
    text, _, more = form.partition("\n[service]\n")
    with pytest.raises(Refused, match=reason):
        settings_with(f"[service.secrets.URL]\n{text}\n", desired_count=f"1\n{more}")


def test_names_that_no_container_takes_are_refused() -> None:
    with pytest.raises(Refused, match="MY-URL: a name is letters, digits and underscores"):
        settings_with('[service.secrets.MY-URL]\nsecret = "a"\n')


# ---- A migration's own


OWNER = f"{OWN}:team/owner-AbCdEf"
BOTH = (
    '[service.secrets.URL]\nsecret = "team/shop"\n[service.secrets.KEY]\nsecret = "team/shop"\nkey = "k"\n'
    '[migration.secrets.URL]\nsecret = "team/owner"\n'
)
ARNS = {"team/shop": f"{OWN}:team/shop-AbCdEf", "team/owner": OWNER}


def test_a_migration_has_its_own_secret_in_place_of_the_service_s() -> None:
    settings = settings_with(BOTH)
    made = Configuration.of(settings, ARNS)
    assert made.secrets == {"URL": ARNS["team/shop"], "KEY": f"{ARNS['team/shop']}:k::"}
    assert made.migration_secrets == {"URL": OWNER, "KEY": f"{ARNS['team/shop']}:k::"}
    to = release("v1.0.0").model_copy(update={"configuration": made})
    given = slot_variables(settings, INFRASTRUCTURE, Colour.BLUE, to)
    assert given["migration_secrets"] == made.migration_secrets
    assert environment_variables(settings, EnvironmentRecord(environment="test"), {})["secret_names"] == [
        "team/owner",
        "team/shop",
    ]


def test_a_rollback_keeps_the_migration_s_secrets_of_the_record() -> None:
    old = release("v1.0.0")
    assert slot_variables(settings_with(BOTH), INFRASTRUCTURE, Colour.BLUE, old)["migration_secrets"] is None
    recorded = old.model_copy(update={"configuration": Configuration.of(settings_with(BOTH), ARNS)})
    kept = slot_variables(settings_with(), INFRASTRUCTURE, Colour.BLUE, recorded)["migration_secrets"]
    assert kept == recorded.configuration.migration_secrets


def test_a_migration_s_secret_makes_no_other_service() -> None:
    without = Configuration.of(settings_with(BOTH.partition("[migration")[0]), ARNS)
    assert Configuration.of(settings_with(BOTH), ARNS).digest == without.digest


def test_the_guard_lets_the_migration_alone_have_its_secret() -> None:
    plan, expected = load("update")
    own = {"OWNER": OWNER}
    wanted = expected.release.configuration.model_copy(update={"migration_secrets": own})
    asking = SlotPlan(
        expected.settings,
        expected.infrastructure,
        expected.colour,
        expected.release.model_copy(update={"configuration": wanted}),
    )
    with pytest.raises(Refused, match=r"migration.container_definitions\[0\].secrets would lack OWNER"):
        guard_slot_plan(plan, asking)
    pairs = [{"name": "OWNER", "valueFrom": OWNER}]
    container("secrets", pairs, MIGRATION)(plan)
    guard_slot_plan(plan, asking)
    container("secrets", pairs)(plan)
    with pytest.raises(Refused, match=r"service.container_definitions\[0\].secrets would gain OWNER"):
        guard_slot_plan(plan, asking)


def test_a_migration_s_secret_that_is_a_plain_variable_is_refused() -> None:
    with pytest.raises(Refused, match="URL is set in both variables and secrets"):
        settings_with('[service.variables]\nURL = "x"\n[migration.secrets.URL]\nsecret = "a"\n')


# ---- What preflight says of them


@pytest.mark.parametrize(
    ("content", "key", "is_address", "faults"),
    [
        ("anything", None, False, []),
        ("", None, False, ["it is empty, or not a text"]),
        ("postgresql://app:pw@db:5432/x", None, True, []),
        (json.dumps({"URL": "x"}), None, True, ["it does not begin with postgresql://"]),
    ],
)
def test_a_whole_secret_is_judged_as_it_is(content: str, key: str | None, is_address: bool, faults: list[str]) -> None:
    assert faults_of_secret(content, key, is_address=is_address) == faults


def test_a_parameter_that_provision_does_not_know_is_told_by_its_name() -> None:
    source = SecretReference(parameter="/shop/url").source
    judged = judge_secrets([SecretSeen(source, f"{PARAMETER}/shop/url")], {})
    assert judged.seen == f"parameter /shop/url is {PARAMETER}/shop/url, and provision recorded none"


class FakeSsm:
    """DescribeParameters over a few names."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def describe_parameters(self, ParameterFilters: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        [wanted] = ParameterFilters
        found = [name for name in self.names if name in wanted["Values"]]
        return {"Parameters": [{"Name": n, "ARN": f"{PARAMETER}/{n.lstrip('/')}"} for n in found]}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("/shop/url", True),
        ("url", True),
        ("shop", False),
        (f"{PARAMETER}/shop/url", True),
        (f"{PARAMETER}/url", True),
        (f"{PARAMETER}/shop", False),
    ],
)
def test_a_parameter_is_found_by_name_or_arn(name: str, found: bool) -> None:
    seen = describe_parameter(FakeSsm("/shop/url", "url"), name)
    assert (seen.arn is not None) is found
    assert seen.name == f"parameter {name}"
