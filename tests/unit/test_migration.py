"""The rollback floor: what a release's migrations mean for the versions that serve beside them or after them."""

from __future__ import annotations

import pytest

from core.errors import Refused
from core.migration import MigrationFile, plan_migrations
from core.record import EnvironmentRecord
from core.version import Version
from tests.unit.facts import environment, live

PLAIN = "ALTER TABLE a ADD COLUMN b text;\n"
LIVE = environment(live=live("v1.4.0", migrations=("1_a",)), rollback_floor="v1.1.0", migrations=("1_a",))
NEW = Version.parse("v1.5.0")


def floor_of(sql: str, record: EnvironmentRecord = LIVE, version: Version = NEW) -> str | None:
    floor = plan_migrations([MigrationFile("1_a", PLAIN), MigrationFile("2_b", sql)], version, record).floor
    return floor.tag if floor else None


@pytest.mark.parametrize(
    ("rule", "sql", "floor"),
    [
        ("no marker", PLAIN, "v1.1.0"),
        ("raised to a version below live", f"-- pointsman: rollback-floor v1.2.0\n{PLAIN}", "v1.2.0"),
        ("raised to live", f"-- pointsman: rollback-floor v1.4.0\n{PLAIN}", "v1.4.0"),
        ("a floor is never lowered", f"-- pointsman: rollback-floor v1.0.0\n{PLAIN}", "v1.1.0"),
        ("in the midst of the file", f"{PLAIN}  --pointsman:rollback-floor v1.2.0  \n{PLAIN}", "v1.2.0"),
        (
            "the highest of several",
            "-- pointsman: rollback-floor v1.3.0\n-- pointsman: rollback-floor v1.2.0\n",
            "v1.3.0",
        ),
        ("a comment of another kind", "-- rollback-floor v9.0.0\n", "v1.1.0"),
    ],
)
def test_a_release_raises_the_floor_at_most_to_the_live_version(rule: str, sql: str, floor: str) -> None:
    assert floor_of(sql) == floor, rule


@pytest.mark.parametrize(
    ("sql", "raised"),
    [
        ("-- pointsman: rollback-floor v1.4.1\n", "v1.4.1"),
        ("-- pointsman: rollback-floor v1.5.0\n", "v1.5.0"),
        ("-- pointsman: rollback-floor\n", "v1.5.0"),
        ("-- pointsman: rollback-floor v1.2.0\n-- pointsman: rollback-floor v2.0.0\n", "v2.0.0"),
    ],
)
def test_a_migration_that_the_live_version_cannot_live_with_is_refused(sql: str, raised: str) -> None:
    with pytest.raises(Refused) as refusal:
        floor_of(sql)
    assert refusal.value.what == f"v1.5.0 would raise the rollback floor to {raised}, above the live v1.4.0"
    assert "migration 2_b" in refusal.value.why
    assert refusal.value.do


def test_a_marker_without_a_version_means_the_release_that_brings_it() -> None:
    assert floor_of("-- pointsman: rollback-floor\n", LIVE, Version.parse("v1.4.0")) == "v1.4.0"


def test_a_marker_that_names_no_version_is_refused_and_not_passed_over() -> None:
    with pytest.raises(Refused, match=r"'1\.2\.0' is no version"):
        floor_of("-- pointsman: rollback-floor 1.2.0\n")


@pytest.mark.parametrize("sql", ["-- pointsman: rollback-floor\n", "-- pointsman: rollback-floor v1.5.0\n"])
def test_before_the_first_release_nothing_serves_that_a_migration_could_harm(sql: str) -> None:
    assert floor_of(sql, environment()) == "v1.5.0"


@pytest.mark.parametrize(
    "record",
    [
        environment(live=live("v1.4.0", migrations=("1_a", "2_b"))),
        environment(live=live("v1.4.0"), migrations=("1_a", "2_b")),
        environment(live=live("v1.4.0", migrations=("1_a",)), migrations=("2_b",)),
    ],
)
def test_a_migration_that_is_applied_is_not_judged_again(record: EnvironmentRecord) -> None:
    assert floor_of("-- pointsman: rollback-floor v9.0.0\n", record) is None


def test_a_plan_names_all_migrations_in_order_and_those_that_are_to_come() -> None:
    files = [MigrationFile(name, PLAIN) for name in ("3_c", "1_a", "2_b")]
    plan = plan_migrations(files, NEW, LIVE)
    assert (plan.names, plan.pending, plan.head) == (("1_a", "2_b", "3_c"), ("2_b", "3_c"), "3_c")


def test_an_application_without_migrations_has_nothing_to_apply() -> None:
    plan = plan_migrations([], NEW, environment())
    assert (plan.names, plan.pending, plan.head, plan.floor) == ((), (), None, None)


def test_a_floor_in_a_file_with_line_ends_of_windows_is_read() -> None:
    assert floor_of(f"{PLAIN}-- pointsman: rollback-floor v1.2.0\r\n{PLAIN}") == "v1.2.0"


@pytest.mark.parametrize(
    "sql",
    [
        "\ufeff-- pointsman: rollback-floor v1.2.0\n",
        "/* pointsman: rollback-floor v1.2.0 */\n",
        "/*\n * pointsman: rollback-floor v1.2.0\n */\n",
        "ALTER TABLE a DROP b; -- pointsman: rollback-floor v1.2.0\n",
        "-- Pointsman: rollback-floor v1.2.0\n",
        "-- pointsman rollback-floor v1.2.0\n",
        "--\u00a0pointsman: rollback-floor v1.2.0\n",
    ],
    ids=["byte order mark", "block", "starred block", "behind a statement", "capital", "no colon", "no-break space"],
)
def test_a_floor_that_is_not_read_is_refused_and_never_passed_over(sql: str) -> None:
    with pytest.raises(Refused, match="2_b has an unrecognised `-- pointsman:` comment"):
        floor_of(sql)
