"""The rollback floor: what a release's migrations mean for the versions that serve beside them or after them."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import Refused
from core.migration import MigrationFile, Reading, TableRow, Tool, missing_in, plan_migrations, refuse_disagreement
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
    with pytest.raises(Refused, match=r"'1\.2\.0' is not a valid version tag"):
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


def test_a_plan_names_all_migrations_in_their_tools_order_and_those_that_are_to_come() -> None:
    files = [MigrationFile(name, PLAIN) for name in ("3_c", "1_a", "2_b")]
    plan = plan_migrations(files, NEW, LIVE)
    assert (plan.names, plan.pending, plan.head) == (("3_c", "1_a", "2_b"), ("3_c", "2_b"), "2_b")


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


@pytest.mark.parametrize(
    ("comment", "text", "floor"),
    [
        ("#", "# pointsman: rollback-floor v1.2.0\n", "v1.2.0"),
        ("#", "  #pointsman: rollback-floor v1.2.0\n", "v1.2.0"),
        ("//", "// pointsman: rollback-floor v1.2.0\n", "v1.2.0"),
        ("//", "-- pointsman: rollback-floor v1.2.0\n", "v1.1.0"),
        ("#", "op.drop_column('a', 'b')  # pointsman: rollback-floor v1.2.0\n", None),
        ("#", "## Pointsman: rollback-floor v1.2.0\n", None),
        ("//", "/* pointsman: rollback-floor v1.2.0 */\n", None),
        ("//", "/// pointsman: floor\n", None),
    ],
)
def test_a_floor_stands_in_a_comment_of_its_files_language(comment: Any, text: str, floor: str | None) -> None:
    files = [MigrationFile("2_b", text, comment)]
    if floor is None:
        with pytest.raises(Refused, match=f"unrecognised `{comment} pointsman:` comment"):
            plan_migrations(files, NEW, LIVE)
        return
    assert str(plan_migrations(files, NEW, LIVE).floor) == floor


@pytest.mark.parametrize(
    ("rule", "before", "sql", "raised"),
    [
        ("no marker, no floor", None, PLAIN, False),
        ("no marker", "v1.1.0", PLAIN, False),
        ("the first floor", None, "-- pointsman: rollback-floor v1.0.0\n", True),
        ("a higher one", "v1.1.0", "-- pointsman: rollback-floor v1.2.0\n", True),
        ("the same", "v1.1.0", "-- pointsman: rollback-floor v1.1.0\n", False),
        ("a lower one", "v1.1.0", "-- pointsman: rollback-floor v1.0.0\n", False),
    ],
)
def test_a_plan_says_whether_it_raises_the_floor(rule: str, before: str | None, sql: str, raised: bool) -> None:
    record = environment(live=live("v1.4.0"), rollback_floor=before)
    assert plan_migrations([MigrationFile("1_a", sql)], NEW, record).raises_floor is raised, rule


def test_a_floor_that_is_read_makes_up_for_none_that_is_not() -> None:
    with pytest.raises(Refused, match="2_b has an unrecognised") as refusal:
        floor_of("-- pointsman: rollback-floor v1.2.0\n-- pointsman: floor v1.3.0\n")
    assert "rollback" in refusal.value.why
    assert "-- pointsman: rollback-floor" in refusal.value.do


# --- repository, image and table

FIRST, SECOND = MigrationFile("1_a", "-- a\n"), MigrationFile("2_b", "-- b\r\n")
BOTH = (FIRST, SECOND)
IN_IMAGE = tuple((file.name, file.checksum) for file in BOTH)
REPAIR = "python -m flows run test -- prisma migrate resolve"
TOOL = Tool("Prisma", f"`{REPAIR} --rolled-back {{migration}}` (or `--applied`).", keeps_failures=True)


def row(file: MigrationFile, *, finished: bool = True, rolled_back: bool = False, log: str | None = None) -> TableRow:
    return TableRow(file.name, file.checksum, finished, rolled_back, log)


def unix(file: MigrationFile) -> MigrationFile:
    return MigrationFile(file.name, file.text.replace("\r\n", "\n"))


def windows(file: MigrationFile) -> MigrationFile:
    return MigrationFile(file.name, unix(file).text.replace("\n", "\r\n"))


@pytest.mark.parametrize("file", BOTH)
def test_line_ends_of_another_platform_make_no_other_migration(file: MigrationFile) -> None:
    assert file.has_checksum(unix(file).checksum)
    assert file.has_checksum(windows(file).checksum)
    assert not file.has_checksum(MigrationFile(file.name, file.text + " ").checksum)


@pytest.mark.parametrize(
    ("rule", "rows", "missing"),
    [
        ("there is no table", None, ("1_a", "2_b")),
        ("the table is empty", (), ("1_a", "2_b")),
        ("all are applied", (row(FIRST), row(SECOND)), ()),
        ("one is applied with other line ends", (row(windows(FIRST)),), ("2_b",)),
        ("one was edited since", (row(MigrationFile("1_a", "-- x")), row(SECOND)), ("1_a",)),
        ("one did not finish", (row(FIRST, finished=False), row(SECOND)), ("1_a",)),
        ("one was resolved as rolled back", (row(FIRST, rolled_back=True), row(SECOND)), ("1_a",)),
        ("one was tried twice", (row(FIRST, finished=False, rolled_back=True), row(FIRST), row(SECOND)), ()),
    ],
)
def test_what_the_table_does_not_call_applied_is_missing(
    rule: str, rows: tuple[TableRow, ...] | None, missing: tuple[str, ...]
) -> None:
    assert missing_in(Reading(IN_IMAGE, rows), BOTH) == missing, rule


@pytest.mark.parametrize(
    ("rule", "files", "reading"),
    [
        ("nothing is applied", BOTH, Reading(IN_IMAGE, None)),
        ("all is applied", BOTH, Reading(IN_IMAGE, (row(FIRST), row(SECOND)))),
        ("applied with other line ends", BOTH, Reading(IN_IMAGE, (row(windows(FIRST)), row(unix(SECOND))))),
        ("a failed one was resolved", BOTH, Reading(IN_IMAGE, (row(FIRST, finished=False, rolled_back=True),))),
        ("there are none", (), Reading(None, None)),
    ],
)
def test_what_agrees_is_not_refused(rule: str, files: tuple[MigrationFile, ...], reading: Reading) -> None:
    refuse_disagreement(files, reading, tool=TOOL)


@pytest.mark.parametrize(
    ("files", "reading", "what", "why", "do"),
    [
        pytest.param(
            BOTH,
            Reading(IN_IMAGE, (row(FIRST, finished=False, log="\n ERROR: column b exists \n"),)),
            "Migration 1_a failed in this database and is not resolved",
            "ERROR: column b exists",
            f"`{REPAIR} --rolled-back 1_a`",
            id="failed",
        ),
        pytest.param(
            BOTH,
            Reading(IN_IMAGE, (row(FIRST, finished=False, log="  "),)),
            "Migration 1_a failed in this database and is not resolved",
            "started but not finished",
            "--applied",
            id="failed, and says nothing",
        ),
        pytest.param(
            BOTH,
            Reading(IN_IMAGE, (row(FIRST, finished=False),)),
            "Migration 1_a failed in this database and is not resolved",
            "started but not finished",
            "--applied",
            id="failed, without a log",
        ),
        pytest.param(
            (FIRST,),
            Reading(IN_IMAGE[:1], (row(FIRST), row(SECOND))),
            "Migration 2_b is applied in this database but is not in the repository",
            "not known to work",
            "allow_downgrade",
            id="applied, and not in the repository",
        ),
        pytest.param(
            (FIRST,),
            Reading(IN_IMAGE[:1], (row(MigrationFile("1_a", "-- x")),)),
            "Migration 1_a was edited after it was applied",
            f"the database applied {MigrationFile('1_a', '-- x').checksum[:12]}, "
            f"and the repository has {FIRST.checksum[:12]}",
            "new migration",
            id="edited",
        ),
        pytest.param(
            BOTH,
            Reading(IN_IMAGE[:1], None),
            "The image lacks migration 2_b",
            "Prisma would find nothing to do",
            "migration.image_directory",
            id="not in the image",
        ),
        pytest.param(
            BOTH, Reading(None, None), "The image lacks migration 1_a", "Prisma", "dockerignore", id="none in the image"
        ),
        pytest.param(
            (FIRST,),
            Reading((("1_a", SECOND.checksum),), None),
            "The image's migration 1_a differs from the repository's",
            f"its checksum is {SECOND.checksum[:12]}, the repository's is {FIRST.checksum[:12]}",
            "as it is",
            id="another in the image",
        ),
        pytest.param(
            (SECOND,),
            Reading((("2_b", unix(SECOND).checksum),), None),
            "The image's migration 2_b differs from the repository's",
            unix(SECOND).checksum[:12],
            "as it is",
            id="with other line ends in the image, which Prisma would call another",
        ),
        pytest.param(
            (FIRST,),
            Reading((("3_d", "x"), *IN_IMAGE), None),
            "The image has migration 2_b, which is not in the repository",
            "it would be applied",
            "Commit it",
            id="more in the image",
        ),
    ],
)
@pytest.mark.parametrize("newer_allowed", [True, False])
def test_what_disagrees_is_refused_with_what_resolves_it(
    files: tuple[MigrationFile, ...], reading: Reading, what: str, why: str, do: str, newer_allowed: bool
) -> None:
    if newer_allowed and "not in the repository" in what and what.startswith("Migration"):
        refuse_disagreement(files, reading, tool=TOOL, newer_allowed=True)
        return
    with pytest.raises(Refused) as refusal:
        refuse_disagreement(files, reading, tool=TOOL, **({"newer_allowed": True} if newer_allowed else {}))
    assert refusal.value.what == what
    assert why in refusal.value.why
    assert do in refusal.value.do


@pytest.mark.parametrize(("length", "cut"), [(600, False), (601, True)])
def test_a_failed_migration_s_log_is_cut_at_its_beginning(length: int, cut: bool) -> None:
    with pytest.raises(Refused) as refusal:
        refuse_disagreement(BOTH, Reading(IN_IMAGE, (row(FIRST, finished=False, log="x" * length),)), tool=TOOL)
    assert refusal.value.why == ("… " if cut else "") + "x" * 600
