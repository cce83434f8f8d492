"""A build that would touch a database is found, by the step or the script that would."""

from __future__ import annotations

import json

import pytest

from core.preflight.judgement import Verdict
from core.preflight.source import BuildFiles, judge_build

HEAD = "FROM node:22\nCOPY . .\n"


def package(**scripts: str) -> str:
    return json.dumps({"name": "app", "scripts": scripts})


MIGRATES = package(postinstall="prisma generate && prisma migrate deploy")


@pytest.mark.parametrize(
    ("run", "scripts", "says"),
    [
        ("npm ci", package(postinstall="prisma generate"), None),
        ("npm ci", package(migrate="prisma migrate deploy"), None),
        ("npm ci", None, None),
        ("npm ci", "not JSON", None),
        ("npm ci", MIGRATES, "its install runs the script postinstall, which calls `prisma migrate deploy`"),
        ("npm install", MIGRATES, "postinstall"),
        ("npm i && npm run build", MIGRATES, "postinstall"),
        ("--mount=type=cache,target=/root/.npm npm ci --omit=dev", MIGRATES, "postinstall"),
        ("corepack enable && pnpm install --frozen-lockfile", MIGRATES, "postinstall"),
        ("yarn", MIGRATES, "postinstall"),
        ("yarn install --immutable", MIGRATES, "postinstall"),
        ("npm ci --ignore-scripts", MIGRATES, None),
        ("npm ci --omit=dev --ignore-scripts --no-audit", MIGRATES, None),
        ("npm ci --ignore-scripts=false", MIGRATES, "postinstall"),
        ("npm_config_ignore_scripts=true npm ci", MIGRATES, None),
        ("npm ci", package(prepare="npm run db"), None),
        ("npm ci", package(prepare="npm run db", db="prisma db push"), "prepare, which calls `prisma db push`"),
        ("npm ci", package(postinstall="npm run postinstall"), None),
        ("npm ci --ignore-scripts && npm run build", package(build="prisma migrate deploy && tsc"), "the script build"),
        ("npm ci --ignore-scripts && pnpm build", package(build="prisma migrate deploy && tsc"), "the script build"),
        ("npx prisma migrate deploy", None, "a RUN step calls `prisma migrate deploy`"),
        ("npx prisma migrate diff --from-empty --to-schema x", None, None),
        ("psql $DATABASE_URL -c 'select 1'", None, "`psql`"),
        ("apt-get install -y curl", MIGRATES, None),
        ("npm \\\n  ci", MIGRATES, "postinstall"),
    ],
)
def test_a_build_touches_no_database(run: str, scripts: str | None, says: str | None) -> None:
    judged = judge_build(BuildFiles(f"{HEAD}RUN {run}\n", scripts))
    assert judged.verdict is (Verdict.PASS if says is None else Verdict.FAIL)
    assert (says or "touches no database") in judged.seen


def test_settings_of_npm_count_for_the_whole_build() -> None:
    assert judge_build(BuildFiles(f"{HEAD}RUN npm ci\n", MIGRATES, "ignore-scripts=true\n")).verdict is Verdict.PASS
    assert judge_build(BuildFiles(f"{HEAD}RUN npm ci\n", MIGRATES, "fund=false\n")).verdict is Verdict.FAIL
    env = f"{HEAD}ENV NPM_CONFIG_IGNORE_SCRIPTS=true\nRUN npm ci\n"
    assert judge_build(BuildFiles(env, MIGRATES)).verdict is Verdict.PASS


def test_a_comment_runs_nothing() -> None:
    assert judge_build(BuildFiles(f"{HEAD}# RUN npx prisma migrate deploy\n")).verdict is Verdict.PASS


def test_a_missing_dockerfile_is_named() -> None:
    judged = judge_build(BuildFiles(None), "docker/Dockerfile")
    assert (judged.verdict, judged.seen) == (Verdict.FAIL, "docker/Dockerfile does not exist")
