"""Each assumption's judgement: what holds, what does not and why, and what was not looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest

from blocks.environment import PROJECT
from core.errors import Refused
from core.preflight.account import (
    Asked,
    Quota,
    TrustPolicy,
    execution_needs,
    judge_account,
    judge_acting_role,
    judge_allowed,
    judge_clock,
    judge_denied,
    judge_principals,
    judge_quotas,
    judge_region,
    judge_trials,
    judge_trust,
    pipeline_limits,
    pipeline_needs,
    trust_expected,
    vcpus_needed,
)
from core.preflight.catalogue import CHECKS, documented
from core.preflight.database import (
    Exposure,
    InboundRule,
    Instance,
    TaskSeen,
    judge_backups,
    judge_deletion_protection,
    judge_exposure,
    judge_inbound,
    judge_instance,
    judge_open,
    judge_reachable,
    judge_storage,
    judge_task,
    judge_task_role,
)
from core.preflight.judgement import NOT_YET, Finding, Judgement, Verdict, failed, in_order, names_of, passed, unknown
from core.preflight.machine import (
    Engine,
    FreeSpace,
    LockFile,
    judge_disk,
    judge_engine,
    judge_lock_files,
    judge_metadata,
    judge_provider,
    judge_store,
    judge_terraform,
)
from core.preflight.secret import SecretSeen, judge_forms, judge_secrets
from core.preflight.source import BuildFiles, judge_branches, judge_build, judge_webhook_secret, judge_workflows
from core.preflight.state import (
    LockSeen,
    judge_expiry,
    judge_locks,
    judge_privacy,
    judge_versioning,
)
from core.preflight.traffic import (
    Certificate,
    Resolved,
    judge_certificate,
    judge_dns,
    judge_listeners,
    judge_test_ports,
)
from tests.unit.facts import INFRASTRUCTURE, NOON, settings_with

PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN
SETTINGS = settings_with('\n[aws]\nrole_arn = "arn:aws:iam::123456789012:role/team-shop-test-pipeline"\n')
ASSUMED = "arn:aws:sts::123456789012:assumed-role/team-shop-test-pipeline/pointsman-1"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:team/shop-AbCdEf"
GIB = 2**30


def engine(**facts: Any) -> Engine:
    known: dict[str, Any] = {"version": "28.0.1", "os": "linux", "architecture": "x86_64", "containerd": False}
    return Engine(**{**known, "root": PurePosixPath("/var/lib/docker"), **facts})


def instance(**facts: Any) -> Instance:
    known: dict[str, Any] = {
        "identifier": "connections",
        "status": "available",
        "engine": "postgres",
        "address": "connections.example.com",
        "port": 5432,
        "public": True,
        "encrypted": True,
        "backup_days": 7,
        "deletion_protected": True,
        "vpc_id": "vpc-1",
        "security_groups": ("sg-db",),
        "parameter_groups": ("default.postgres16",),
    }
    return Instance(**{**known, **facts})


def rule(source: str, first: int | None = 5432, last: int | None = 5432) -> InboundRule:
    return InboundRule("sg-db", first, last, source)


def expiring(prefix: str, days: int = 90, **more: Any) -> dict[str, Any]:
    ending = {"NoncurrentVersionExpiration": {"NoncurrentDays": days}}
    return {"ID": prefix, "Status": "Enabled", "Filter": {"Prefix": prefix}, **ending, **more}


def certificate(days: float = 200, status: str = "ISSUED", names: tuple[str, ...] = ("shop.example.com",)) -> Any:
    return Certificate(status, NOON + timedelta(days=days), names)


LOCK = LockSeen("blue", "worker@machine", datetime(2026, 3, 1, 11, 0, tzinfo=UTC))
BALANCER = "shop-test.example.com"
OF_A_TAG = """
on:
  push:
    tags: ["v*"]
jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - run: terraform apply -auto-approve
"""
BY_HAND = OF_A_TAG.replace('push:\n    tags: ["v*"]', "workflow_dispatch:")

# Each check by its name, its judgement of some facts, and what must come of it.
CASES: list[tuple[str, Judgement, Verdict, str]] = [
    ("settings", failed("wrong"), FAIL, "wrong"),  # `check_provision` judges: test_provision
    ("identity", failed("AWS does not allow"), FAIL, "AWS does not allow"),  # AWS judges
    ("account", judge_account("123456789012", SETTINGS), PASS, "123456789012"),
    ("account", judge_account("999999999999", SETTINGS), FAIL, "of account 999999999999"),
    ("region", judge_region(SETTINGS, "eu-west-1", None), PASS, "eu-west-1"),
    ("region", judge_region(SETTINGS, "eu-west-1", "us-east-1"), FAIL, "team-shop-state is in us-east-1"),
    ("region", judge_region(SETTINGS, "us-east-1", "eu-west-1"), FAIL, "credentials block is in us-east-1"),
    ("clock", judge_clock(0.4), PASS, "0 s"),
    ("clock", judge_clock(-30), PASS, "30 s behind"),
    ("clock", judge_clock(31), FAIL, "31 s ahead of AWS"),
    ("clock", judge_clock(-400), FAIL, "400 s behind AWS"),
    ("releases' role", judge_acting_role(ASSUMED, SETTINGS), PASS, "team-shop-test-pipeline"),
    ("releases' role", judge_acting_role("arn:aws:iam::123456789012:user/root", SETTINGS), FAIL, "user/root"),
    (
        "releases' role",
        judge_acting_role(ASSUMED.replace("test-pipeline", "production-pipeline"), SETTINGS),
        FAIL,
        "production-pipeline",
    ),
    ("permissions by trial", judge_trials({}, 4), PASS, "4 reads"),
    ("permissions by trial", judge_trials({"ecs:DescribeServices": "AccessDenied"}, 4), FAIL, "ecs:DescribeServices"),
    ("permissions by simulation", judge_allowed("p", {("ecs:RunTask", "*"): "allowed"}), PASS, "1 action"),
    (
        "permissions by simulation",
        judge_allowed("p", {("ecs:RunTask", "*"): "implicitDeny"}),
        FAIL,
        "p lacks ecs:RunTask",
    ),
    ("limits of the role", judge_denied("p", {("iam:CreateRole", "*"): "explicitDeny"}), PASS, "1 action refused"),
    ("limits of the role", judge_denied("p", {("iam:CreateRole", "*"): "allowed"}), FAIL, "p may iam:CreateRole"),
    ("principals", judge_principals(["a", "b"], []), PASS, "2 principals"),
    ("principals", judge_principals(["a"], ["arn:…:role/gone"]), FAIL, "role/gone"),
    ("execution role", judge_allowed("e", {("secretsmanager:GetSecretValue", SECRET): "implicitDeny"}), FAIL, SECRET),
    ("quotas", judge_quotas([Quota("Fargate vCPUs", 1, 6)]), PASS, "Fargate vCPUs 6"),
    ("quotas", judge_quotas([Quota("Fargate vCPUs", 8, 6)]), FAIL, "6 of 8 needed"),
    ("quotas", judge_quotas([Quota("VPCs", 1, None)]), UNKNOWN, "did not answer"),
    ("state bucket", failed("team-shop-state does not exist"), FAIL, "does not exist"),  # S3 judges
    ("bucket versions", judge_versioning("Enabled"), PASS, "enabled"),
    ("bucket versions", judge_versioning("Suspended"), FAIL, "suspended"),
    ("bucket versions", judge_versioning(None), FAIL, "never enabled"),
    ("bucket privacy", judge_privacy(dict.fromkeys("abcd", True)), PASS, "closed"),
    (
        "bucket privacy",
        judge_privacy({**dict.fromkeys("abc", True), "BlockPublicAcls": False}),
        FAIL,
        "BlockPublicAcls",
    ),
    ("bucket privacy", judge_privacy(None), FAIL, "no public access block"),
    ("bucket expiry", judge_expiry([expiring("releases/"), expiring("terraform/")]), PASS, "some day"),
    ("bucket expiry", judge_expiry([expiring("")]), PASS, "some day"),
    ("bucket expiry", judge_expiry([expiring("releases/")]), FAIL, "no rule ends old versions of terraform/"),
    ("bucket expiry", judge_expiry([expiring("", Status="Disabled")]), FAIL, "no rule ends old versions of releases/"),
    ("bucket expiry", judge_expiry([expiring("", 7)]), FAIL, "deletes old versions after 7 days"),
    ("bucket expiry", judge_expiry([expiring("", Expiration={"Days": 90})]), FAIL, "deletes current states"),
    (
        "bucket expiry",
        judge_expiry([expiring(""), expiring("releases/test/", Expiration={"Date": "2027"})]),
        FAIL,
        "deletes current states",
    ),
    ("bucket expiry", judge_expiry([expiring("", Expiration={"ExpiredObjectDeleteMarker": True})]), PASS, "some day"),
    ("record", failed("cannot be read"), FAIL, "cannot be read"),  # the store judges: test_records
    ("state lock", judge_locks([], held=False, unlock=""), PASS, "no state"),
    ("state lock", judge_locks([LOCK], held=True, unlock=""), PASS, "by the run in flight"),
    ("state lock", judge_locks([LOCK], held=False, unlock="python -m flows unlock test"), FAIL, "worker@machine"),
    ("Docker engine", judge_engine(engine()), PASS, "28.0.1 on x86_64"),
    ("Docker engine", judge_engine(engine(architecture="aarch64")), PASS, "emulates linux/amd64"),
    ("Docker engine", judge_engine(engine(), "linux/arm64"), PASS, "x86_64, which emulates linux/arm64"),
    ("Docker engine", judge_engine(engine(architecture="aarch64"), "linux/arm64"), PASS, "28.0.1 on aarch64"),
    ("Docker engine", judge_engine(engine(os="windows")), FAIL, "runs windows"),
    ("BuildKit", failed("No docker client on this worker can build with BuildKit"), FAIL, "BuildKit"),  # find_builder
    ("image store", judge_store(engine(), "docker"), PASS, "classic store"),
    ("image store", judge_store(engine(containerd=True), "docker"), PASS, "containerd store"),
    ("image store", judge_store(engine(), "docker-container"), FAIL, "driver docker-container"),
    ("disk space", judge_disk([FreeSpace("the workspace", "/tmp", 5 * GIB)], 5), PASS, "5.0 GiB at /tmp"),
    ("disk space", judge_disk([FreeSpace("the engine", "/var", 5 * GIB - 1)], 5), FAIL, "least_free_gib is 5"),
    ("metadata service", judge_metadata((), "node"), PASS, "no answer"),
    ("metadata service", judge_metadata(("169.254.169.254",), "node"), FAIL, "169.254.169.254"),
    ("metadata service", judge_metadata(None, "scratch-like"), UNKNOWN, "scratch-like has no shell"),
    ("Terraform", judge_terraform("1.10.0", ">= 1.10"), PASS, "1.10.0"),
    ("Terraform", judge_terraform("1.9.8", ">= 1.10"), FAIL, "1.9.8"),
    ("Terraform", judge_terraform("2.0.0-rc1", ">= 1.10"), PASS, "2.0.0"),
    ("provider", judge_provider("5.100.0", kept=True), PASS, "5.100.0"),
    ("provider", judge_provider("5.100.0", kept=False), FAIL, "not kept here"),
    ("lock files", judge_lock_files({"a": LockFile("5.1", 2), "b": LockFile("5.1", 2)}), PASS, "5.1 in 2 roots"),
    ("lock files", judge_lock_files({"a": LockFile("5.1", 2), "b": LockFile("5.2", 2)}), FAIL, "b locks 5.2"),
    ("lock files", judge_lock_files({"a": LockFile("5.1", 0)}), FAIL, "no checksums"),
    ("lock files", judge_lock_files({"a": None}), FAIL, "a has none"),
    ("git access", judge_branches({"refs/heads/main"}, ["main"]), PASS, "with main"),
    ("git access", judge_branches({"refs/heads/release/1"}, ["release/*"]), PASS, "release/*"),
    ("git access", judge_branches({"refs/heads/main"}, ["main", "release/*"]), FAIL, "no branch release/*"),
    ("webhook secret", judge_webhook_secret(16, 16), PASS, "16 characters"),
    ("webhook secret", judge_webhook_secret(15, 16), FAIL, "fewer than 16"),
    ("webhook secret", judge_webhook_secret(None, 16), FAIL, "not set"),
    ("Dockerfile", judge_build(BuildFiles(None)), FAIL, "does not exist"),
    ("old workflow", judge_workflows({}), PASS, "no workflows"),
    ("old workflow", judge_workflows({".github/workflows/test.yml": "on: push\n"}), PASS, "none of which deploys"),
    ("old workflow", judge_workflows({".github/workflows/deploy.yml": OF_A_TAG}), FAIL, "terraform apply"),
    ("old workflow", judge_workflows({".github/workflows/deploy.yml": BY_HAND}), PASS, "by other ways"),
    ("secrets", judge_secrets([SecretSeen("team/shop", SECRET)], {"team/shop": SECRET}), PASS, SECRET),
    ("secrets", judge_secrets([SecretSeen("team/shop", SECRET)], None), PASS, SECRET),
    ("secrets", judge_secrets([SecretSeen("team/shop", None)], None), FAIL, "team/shop does not exist"),
    ("secrets", judge_secrets([SecretSeen("team/shop", SECRET, deleted=True)], None), FAIL, "about to be deleted"),
    ("secrets", judge_secrets([SecretSeen("team/shop", SECRET)], {"team/shop": f"{SECRET[:-1]}x"}), FAIL, "recorded"),
    ("secrets", judge_secrets([SecretSeen("team/shop", SECRET)], {}), FAIL, "recorded none"),
    ("secret form", judge_forms({"DATABASE_URL": []}, "a task"), PASS, "looked at by a task"),
    ("secret form", judge_forms({"DATABASE_URL": ["the host is missing"]}, "a task"), FAIL, "the host is missing"),
    ("database instance", judge_instance(instance(), "connections"), PASS, "available at"),
    ("database instance", judge_instance(instance(status="backing-up"), "connections"), PASS, "backing-up"),
    ("database instance", judge_instance(None, "connections"), FAIL, "no instance connections"),
    ("database instance", judge_instance(instance(engine="mysql"), "connections"), FAIL, "is mysql"),
    ("database instance", judge_instance(instance(status="stopped"), "connections"), FAIL, "is stopped"),
    ("database backups", judge_backups(instance()), PASS, "7 days"),
    ("database backups", judge_backups(instance(backup_days=0)), FAIL, "off"),
    ("database encryption", judge_storage(instance()), PASS, "encrypted"),
    ("database encryption", judge_storage(instance(encrypted=False)), FAIL, "not encrypted"),
    ("database deletion protection", judge_deletion_protection(instance()), PASS, "on"),
    ("database deletion protection", judge_deletion_protection(instance(deletion_protected=False)), FAIL, "off"),
    ("database exposure", judge_exposure(instance(public=False), Exposure(None, None)), PASS, "no public"),
    ("database exposure", judge_exposure(instance(), Exposure(True, None)), PASS, "the server requires TLS"),
    ("database exposure", judge_exposure(instance(), Exposure(False, True)), PASS, "the secret requires TLS"),
    ("database exposure", judge_exposure(instance(), Exposure(False, False)), FAIL, "nobody requires TLS"),
    ("database exposure", judge_exposure(instance(), Exposure(False, None)), UNKNOWN, "could not be read"),
    ("database inbound rule", judge_inbound([], 5432, None, None), Verdict.NOT_YET, "provision first"),
    ("database inbound rule", judge_inbound([rule("1.2.3.4/32")], 5432, "1.2.3.4", None), PASS, "1.2.3.4"),
    ("database inbound rule", judge_inbound([rule("1.2.3.0/24", 0, 65535)], 5432, "1.2.3.4", None), PASS, "1.2.3.4"),
    ("database inbound rule", judge_inbound([rule("1.2.3.4/32", None, None)], 5432, "1.2.3.4", None), PASS, "1.2"),
    ("database inbound rule", judge_inbound([rule("sg-tasks")], 5432, "1.2.3.4", "sg-tasks"), PASS, "sg-tasks"),
    ("database inbound rule", judge_inbound([rule("sg-tasks")], 5432, "1.2.3.4", None), FAIL, "1.2.3.4/32"),
    ("database inbound rule", judge_inbound([rule("1.2.3.5/32")], 5432, "1.2.3.4", None), FAIL, "on 5432"),
    ("database inbound rule", judge_inbound([rule("1.2.3.4/32", 22, 22)], 5432, "1.2.3.4", None), FAIL, "on 5432"),
    ("database inbound rule", judge_inbound([rule("::/0")], 5432, "1.2.3.4", None), FAIL, "on 5432"),
    ("database open to the world", judge_open([rule("1.2.3.4/32")], 5432), PASS, "everybody"),
    ("database open to the world", judge_open([rule("0.0.0.0/0", 22, 22), rule("pl-1")], 5432), PASS, "everybody"),
    ("database open to the world", judge_open([rule("0.0.0.0/0", 5000, 6000)], 5432), FAIL, "0.0.0.0/0"),
    ("database open to the world", judge_open([rule("::/0", None, None)], 5432), FAIL, "::/0"),
    ("database open to the world", judge_open([rule("0.0.0.0/1"), rule("128.0.0.0/1")], 5432), FAIL, "128.0.0.0/1"),
    ("task", judge_task(TaskSeen(True, variables={"DATABASE_URL": True})), PASS, "1 secret"),
    ("task", judge_task(TaskSeen(True, variables={"DATABASE_URL": False})), FAIL, "without a value for DATABASE_URL"),
    ("task", judge_task(TaskSeen(False, "ResourceInitializationError: no json key")), FAIL, "no json key"),
    ("task role", judge_task_role(TaskSeen(True, task_role="task"), "task"), PASS, "task"),
    ("task role", judge_task_role(TaskSeen(True, task_role="admin"), "task"), FAIL, "acts as admin"),
    ("task role", judge_task_role(TaskSeen(True), "task"), UNKNOWN, "metadata"),
    ("task role", judge_task_role(TaskSeen(False), "task"), UNKNOWN, "no task started"),
    ("database reachable", judge_reachable(TaskSeen(True, reach="login", detail="tls")), PASS, "over TLS"),
    ("database reachable", judge_reachable(TaskSeen(True, reach="name")), FAIL, "name does not resolve"),
    ("database reachable", judge_reachable(TaskSeen(True, reach="port")), FAIL, "port does not answer"),
    ("database reachable", judge_reachable(TaskSeen(True, reach="tls")), FAIL, "TLS"),
    ("database reachable", judge_reachable(TaskSeen(True, reach="refused", detail="28P01")), FAIL, "login; 28P01"),
    ("database reachable", judge_reachable(TaskSeen(True)), UNKNOWN, "did not get so far"),
    ("database reachable", judge_reachable(TaskSeen(False)), UNKNOWN, "no task started"),
    ("listeners", judge_listeners({"production": "p"}, {"p": "HTTP"}, https=False), PASS, "over HTTP"),
    (
        "listeners",
        judge_listeners({"production": "p", "blue test": "b"}, {"p": "HTTP"}, https=False),
        FAIL,
        "blue test",
    ),
    ("listeners", judge_listeners({"production": "p"}, {"p": "HTTP"}, https=True), FAIL, "says HTTPS"),
    ("test listeners reachable", judge_test_ports([], 2), PASS, "2 connections"),
    ("test listeners reachable", judge_test_ports(["http://shop:8081 at 1.2.3.4"], 2), FAIL, "1.2.3.4"),
    ("certificate", judge_certificate(None, None, NOON), FAIL, "no such certificate"),
    ("certificate", judge_certificate(certificate(), "shop.example.com", NOON), PASS, "until"),
    ("certificate", judge_certificate(certificate(30), None, NOON), PASS, "until"),
    ("certificate", judge_certificate(certificate(29.9), None, NOON), FAIL, "in 29 days"),
    ("certificate", judge_certificate(certificate(status="PENDING_VALIDATION"), None, NOON), FAIL, "PENDING"),
    ("certificate", judge_certificate(certificate(names=("*.example.com",)), "shop.example.com", NOON), PASS, r"*"),
    ("certificate", judge_certificate(certificate(names=("*.example.com",)), "a.b.example.com", NOON), FAIL, "not for"),
    ("DNS", judge_dns("s.io", Resolved(f"{BALANCER}.", frozenset("1")), BALANCER, "2"), PASS, "CNAME"),
    ("DNS", judge_dns("s.io", Resolved("s.io", frozenset("1")), BALANCER, "12"), PASS, "the addresses of"),
    ("DNS", judge_dns("s.io", Resolved("s.io", frozenset("3")), BALANCER, "12"), FAIL, f"not to {BALANCER}"),
    ("DNS", judge_dns("s.io", Resolved(), BALANCER, "12"), FAIL, "does not resolve"),
]

TRUST = {role: policy for role, policy in trust_expected(SETTINGS).items() if role.endswith("-task")}


@pytest.mark.parametrize(("name", "judged", "verdict", "seen"), CASES, ids=lambda value: str(value)[:40])
def test_a_check_says_what_it_saw(name: str, judged: Judgement, verdict: Verdict, seen: str) -> None:
    check = next(check for check in CHECKS if check.name == name)
    finding = Finding.of(check, judged, names_of(SETTINGS))
    assert (finding.verdict, seen in finding.seen) == (verdict, True), finding
    assert bool(finding.fix) == (verdict is FAIL)
    assert "{" not in finding.fix


def test_each_check_has_a_case_that_fails() -> None:
    failing = {name for name, _, verdict, _ in CASES if verdict is FAIL} | {"trust policies"}
    assert {check.name for check in CHECKS} - failing == set()
    assert len(CHECKS) >= 30
    assert len({check.name for check in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"Principal": {"Service": "ecs-tasks.amazonaws.com"}}, None),
        ({"Principal": {"AWS": "arn:aws:iam::1:user/me"}}, "may be taken by arn:aws:iam::1:user/me as well"),
        ({"Principal": "*"}, r"may be taken by \* as well"),
        ({"Principal": {"AWS": ["AROAABC"], "Service": ["ecs-tasks.amazonaws.com"]}}, "which was deleted"),
        ({"Principal": {"Service": ["ec2.amazonaws.com"]}}, "does not trust ecs-tasks.amazonaws.com"),
        ({"Principal": {"Federated": "oidc", "Service": "ecs-tasks.amazonaws.com"}}, "may be taken by oidc"),
        (None, "does not exist"),
    ],
)
def test_a_role_is_taken_by_those_that_should(document: Mapping[str, Any] | None, says: str | None) -> None:
    found = None
    if document is not None:
        found = TrustPolicy.of({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", **document}})
    judged = judge_trust(TRUST, dict.fromkeys(TRUST, found))
    assert judged.verdict is (PASS if says is None else FAIL)
    if says is not None:
        assert says.replace("\\", "") in judged.seen


def test_the_pipelines_principals_are_those_of_the_settings() -> None:
    settings = settings_with('\n[provision.account]\npipeline_principal_arns = ["arn:aws:iam::1:role/worker"]\n')
    expected = trust_expected(settings)
    assert expected["team-shop-test-pipeline"].principals == {"arn:aws:iam::1:role/worker"}
    assert expected["team-shop-test-execution"].services == {"ecs-tasks.amazonaws.com"}
    found = {role: policy for role, policy in expected.items() if role != "team-shop-operator"}
    assert judge_trust(expected, found).seen == "the role team-shop-operator does not exist"


def test_what_a_release_does_and_what_it_must_not_have_nothing_in_common() -> None:
    infrastructure = INFRASTRUCTURE.model_copy(update={"secret_arns": {"team/shop": SECRET}})
    needed = {
        (action, asked.resource) for asked in pipeline_needs(SETTINGS, infrastructure) for action in asked.actions
    }
    barred = {(action, asked.resource) for asked in pipeline_limits(SETTINGS, [SECRET]) for action in asked.actions}
    assert needed & barred == set()
    assert ("secretsmanager:GetSecretValue", SECRET) in barred
    assert ("iam:PassRole", INFRASTRUCTURE.task_role_arn) in needed
    assert ("secretsmanager:GetSecretValue", SECRET) in pairs(execution_needs(SETTINGS, infrastructure))


def pairs(asked: Iterable[Asked]) -> set[tuple[str, str]]:
    return {(action, question.resource) for question in asked for action in question.actions}


def test_a_release_runs_both_slots_and_one_of_them_twice() -> None:
    assert vcpus_needed(settings_with(desired_count="4")) == pytest.approx(13 * 0.25)


def test_the_report_names_what_failed_first_and_refuses_with_each_fix() -> None:
    judged = {
        "account": failed("the credentials are of account 9"),
        "clock": passed("0 s"),
        "quotas": unknown("AWS does not allow it"),
        "record": NOT_YET,
        "webhook secret": failed("not set"),
    }
    report = in_order(CHECKS, judged, names_of(SETTINGS))
    assert report.message == (
        "2 of 5 checks failed: account, webhook secret; 1 passed, 1 not yet applicable, 1 not checked."
    )
    assert [row[0] for row in report.rows()] == ["account", "webhook secret", "clock", "quotas", "record"]
    with pytest.raises(Refused, match=r"v1\.2\.0 was not begun: 2 preflight checks failed: account \(") as refused:
        report.refuse_failed("v1.2.0")
    assert "webhook secret: Make one with `openssl rand -hex 32`" in str(refused.value)
    assert "environments/test.toml" in str(refused.value)
    assert "**FAIL**" in report.markdown("test")
    assert "→ Fix aws_account_number" in report.text()


def test_nothing_is_refused_where_nothing_failed() -> None:
    report = in_order(CHECKS, {"clock": passed("0 s"), "quotas": unknown("AWS does not allow it")}, {})
    report.refuse_failed("v1.2.0")
    assert report.message == "1 passed, 1 not checked."


def test_the_document_has_the_table_of_the_code() -> None:
    assert documented() in (PROJECT / "docs/preflight.md").read_text(), "docs/preflight.md: put this table there"
