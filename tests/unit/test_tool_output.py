"""What tools say when they fail: the failing line, the diagnostics, the migration; out of their real output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from systems.docker import failing_lines
from systems.migrations.prisma import migration_failure
from systems.terraform import applied_outputs, diagnostics

# --- BuildKit

CLASSIC_CLIENT = """\
#8 [4/6] RUN npm ci --omit=dev
#8 sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
#8 0.412 npm ERR! code ENOTFOUND
#8 0.413 npm ERR! network request failed
#8 ERROR: executor failed running [/bin/sh -c npm ci --omit=dev]: exit code: 1
------
 > [4/6] RUN npm ci --omit=dev:
#8 0.412 npm ERR! code ENOTFOUND
#8 0.413 npm ERR! network request failed
------
executor failed running [/bin/sh -c npm ci --omit=dev]: exit code: 1
"""
BUILDX = """\
#8 [4/6] RUN npm ci --omit=dev
#8 0.412 npm ERR! code ENOTFOUND
#8 ERROR: process "/bin/sh -c npm ci --omit=dev" did not complete successfully: exit code: 1
------
 > [4/6] RUN npm ci --omit=dev:
0.412 npm ERR! code ENOTFOUND
------
Dockerfile:9
--------------------
   7 |     WORKDIR /app
   8 |     COPY package.json package-lock.json ./
   9 | >>> RUN npm ci --omit=dev
  10 |     COPY src ./src
--------------------
ERROR: failed to solve: process "/bin/sh -c npm ci --omit=dev" did not complete successfully: exit code: 1
"""
CLASSIC_SYNTAX = """\
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 124B done
#1 DONE 0.0s
failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 3: \
unknown instruction: RNU
"""
BUILDX_SYNTAX = """\
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 124B done
#1 DONE 0.0s
Dockerfile:3
--------------------
   3 | >>> RNU npm ci
--------------------
ERROR: failed to solve: dockerfile parse error on line 3: unknown instruction: RNU (did you mean RUN?)
"""


@pytest.mark.parametrize(
    ("output", "shown", "left_out"),
    [
        pytest.param(
            CLASSIC_CLIENT,
            ["> [4/6] RUN npm ci --omit=dev:", "npm ERR! code ENOTFOUND", "exit code: 1"],
            "sha256:5f70",
            id="20.10",
        ),
        pytest.param(
            BUILDX,
            ["> [4/6] RUN npm ci --omit=dev:", "npm ERR! code ENOTFOUND", "9 | >>> RUN npm ci --omit=dev"],
            "#8 0.412",
            id="buildx",
        ),
        pytest.param(CLASSIC_SYNTAX, ["line 3", "unknown instruction: RNU"], None, id="20.10, a Dockerfile's error"),
        pytest.param(BUILDX_SYNTAX, ["line 3", "unknown instruction: RNU"], None, id="buildx, a Dockerfile's error"),
        pytest.param("no such thing\n", ["no such thing"], None, id="another end"),
    ],
)
def test_a_build_that_fails_shows_the_step_and_its_cause(output: str, shown: list[str], left_out: str | None) -> None:
    said = "\n".join(failing_lines(output.splitlines()))
    assert all(part in said for part in shown), said
    assert left_out is None or left_out not in said


def test_of_two_steps_that_failed_the_last_is_shown() -> None:
    lines = [" > [a 1/2] RUN one:", "one broke", "------", " > [b 1/2] RUN two:", "two broke"]
    assert failing_lines(lines) == lines[3:]


def test_a_build_that_said_nothing_shows_nothing() -> None:
    assert failing_lines([]) == []


# --- Terraform


def event(severity: str, summary: str, detail: str = "", address: str = "") -> str:
    diagnostic: dict[str, Any] = {"severity": severity, "summary": summary, "detail": detail}
    if address:
        diagnostic["address"] = address
    return json.dumps({"@level": severity, "@message": summary, "type": "diagnostic", "diagnostic": diagnostic})


PLAN_LINES = [
    '{"@level":"info","@message":"Terraform 1.12.2","type":"version","terraform":"1.12.2"}',
    '{"@level":"info","@message":"Plan: 2 to add","type":"change_summary","changes":{"add":2}}',
]
PLAIN = """\
Initializing the backend...
╷
│ Error: Failed to get existing workspaces: S3 bucket "state" does not exist.
│
│ The referenced S3 bucket must have been previously created.
╵
"""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [*PLAN_LINES, event("error", "creating ECS Service", "AccessDenied: no", "aws_ecs_service.slot")],
            "creating ECS Service (aws_ecs_service.slot): AccessDenied: no",
        ),
        ([event("error", "Invalid value", "cpu must be 256.")], "Invalid value: cpu must be 256."),
        ([event("error", "Error acquiring the state lock")], "Error acquiring the state lock"),
        ([event("error", "one", "a"), event("warning", "careful", "b"), event("error", "two", "c")], "one: a; two: c"),
        ([event("error", "one", "a"), "Stack trace of something"], "one: a"),
    ],
)
def test_json_lines_give_their_errors_and_nothing_else(lines: list[str], said: str) -> None:
    assert diagnostics(lines) == said


def test_plain_lines_give_their_text_without_the_frame() -> None:
    said = diagnostics(PLAIN.splitlines())
    assert 'Error: Failed to get existing workspaces: S3 bucket "state" does not exist.' in said
    assert not set("╷│╵") & set(said)


def test_a_line_that_only_looks_like_json_is_text() -> None:
    assert diagnostics(["{broken"]) == "{broken"


def test_a_dump_is_cut() -> None:
    assert len(diagnostics(["x" * 100] * 1_000)) <= 1_500


# --- Prisma

P3018 = """\
1 migration found in prisma/migrations

Applying migration `20260301090000_unique_email`
Error: P3018

A migration failed to apply. New migrations cannot be applied before the error is recovered from. Read more about how \
to resolve migration issues in a production database: https://pris.ly/d/migrate-resolve

Migration name: 20260301090000_unique_email

Database error code: 23505

Database error:
ERROR: could not create unique index "Connection_email_key"
DETAIL: Key (email)=(a@example.com) is duplicated.

DbError { severity: "ERROR", parsed_severity: Some(Error), code: SqlState(E23505) }
"""
P3009 = """\
Error: P3009

migrate found failed migrations in the target database, new migrations will not be applied. Read more about how to \
resolve migration issues in a production database: https://pris.ly/d/migrate-resolve
The `20260301090000_unique_email` migration started at 2026-03-01 09:00:00.000000 UTC failed
"""
P1001 = """\
Error: P1001: Can't reach database server at `db.example.com:5432`

Please make sure your database server is running at `db.example.com:5432`.
"""


@pytest.mark.parametrize(
    ("output", "said"),
    [
        pytest.param(P3018, ["P3018", "migration 20260301090000_unique_email"], id="P3018"),
        pytest.param(P3018, ['could not create unique index "Connection_email_key"'], id="P3018, the database's error"),
        pytest.param(P3009, ["P3009", "migration 20260301090000_unique_email"], id="P3009"),
        pytest.param(P1001, ["P1001"], id="P1001"),
    ],
)
def test_a_migration_that_fails_is_told_by_prisma_s_code_and_its_name(output: str, said: list[str]) -> None:
    failure = migration_failure(output.splitlines())
    assert all(part in failure for part in said), failure
    assert "\n" not in failure


@pytest.mark.parametrize("output", ["", "sh: prisma: not found", "All migrations have been successfully applied."])
def test_output_without_a_code_of_prisma_names_no_migration(output: str) -> None:
    assert migration_failure(output.splitlines()) == ""


# --- what an apply put out


def test_outputs_are_those_of_the_apply_itself() -> None:
    lines = [
        "Acquiring state lock. This may take a few moments...",
        json.dumps({"@level": "info", "@message": "Apply complete!", "type": "change_summary"}),
        json.dumps(
            {
                "@message": "Outputs: 2",
                "type": "outputs",
                "outputs": {
                    "service_name": {"sensitive": False, "type": "string", "value": "shop-test-blue"},
                    "subnets": {"sensitive": False, "type": ["list", "string"], "value": ["a", "b"]},
                },
            }
        ),
    ]
    assert applied_outputs(lines) == {"service_name": "shop-test-blue", "subnets": ["a", "b"]}


@pytest.mark.parametrize("lines", [[], ["no JSON"], ['{"@message": "the "outputs" of a module", "type": "log"}']])
def test_no_outputs_are_made_up(lines: list[str]) -> None:
    assert applied_outputs(lines) == {}
