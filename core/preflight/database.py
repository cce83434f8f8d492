"""Judgements of the database: its instance, the rules around it, and what a task inside saw of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from core.preflight.judgement import NOT_YET, Judgement, failed, passed, unknown
from core.words import counted

__all__ = [
    "Exposure",
    "InboundRule",
    "Instance",
    "TaskSeen",
    "judge_backups",
    "judge_deletion_protection",
    "judge_exposure",
    "judge_inbound",
    "judge_instance",
    "judge_open",
    "judge_reachable",
    "judge_storage",
    "judge_task",
    "judge_task_role",
]

# ---- The instance ----


@dataclass(frozen=True)
class Instance:
    """A database instance as RDS describes it."""

    identifier: str
    status: str
    engine: str
    address: str
    port: int
    public: bool
    encrypted: bool
    backup_days: int
    deletion_protected: bool
    vpc_id: str
    security_groups: tuple[str, ...]
    parameter_groups: tuple[str, ...]


# While these last, it serves all the same.
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html
_SERVING = frozenset(
    {"available", "backing-up", "modifying", "configuring-enhanced-monitoring", "storage-optimization"}
)


def judge_instance(instance: Instance | None, identifier: str) -> Judgement:
    """Judge that the instance is there and serves; None where RDS knows none of that name."""
    if instance is None:
        return failed(f"RDS has no instance {identifier}")
    if "postgres" not in instance.engine:
        return failed(f"{identifier} is {instance.engine}")
    if instance.status not in _SERVING:
        return failed(f"{identifier} is {instance.status}", "Wait until it is available, or start it.")
    return passed(f"{identifier} is {instance.status} at {instance.address}:{instance.port}")


def judge_backups(instance: Instance) -> Judgement:
    """Judge automated backups, whose retention in days is 0 where they are off."""
    return (
        passed(f"kept for {counted(instance.backup_days, 'day')}") if instance.backup_days else failed("they are off")
    )


def judge_storage(instance: Instance) -> Judgement:
    """Judge the encryption of its storage."""
    return passed("encrypted") if instance.encrypted else failed("not encrypted")


def judge_deletion_protection(instance: Instance) -> Judgement:
    """Judge its deletion protection."""
    return passed("on") if instance.deletion_protected else failed("off")


@dataclass(frozen=True)
class Exposure:
    """Whether TLS is required: by the server's parameters, and by the address in the secret; None where unknown."""

    forced: bool | None
    asked_for: bool | None


def judge_exposure(instance: Instance, tls: Exposure) -> Judgement:
    """Judge a public address, over which nothing may go without TLS."""
    if not instance.public:
        return passed("no public address")
    if tls.forced or tls.asked_for:
        return passed(f"a public address, and {'the server' if tls.forced else 'the secret'} requires TLS")
    if tls.forced is None or tls.asked_for is None:
        return unknown("it has a public address; rds.force_ssl or the secret could not be read")
    return failed("it has a public address, and nobody requires TLS")


@dataclass(frozen=True)
class InboundRule:
    """An inbound rule of a security group: from a range, or from another group. Ports are None for all traffic."""

    group: str
    first: int | None
    last: int | None
    source: str

    def admits(self, port: int) -> bool:
        """Whether it is about that port."""
        return self.first is None or self.first <= port <= (self.last if self.last is not None else self.first)


def judge_inbound(rules: Iterable[InboundRule], port: int, nat: str | None, tasks: str | None) -> Judgement:
    """Judge that the environment gets in: by the NAT's address, or by its tasks' group where the VPC is the same."""
    if nat is None and tasks is None:
        return NOT_YET
    sources = [rule.source for rule in rules if rule.admits(port)]
    if tasks is not None and tasks in sources:
        return passed(f"{tasks} is admitted on {port}")
    if nat is not None and any(_covers(source, nat) for source in sources):
        return passed(f"{nat} is admitted on {port}")
    wanted = " or ".join(filter(None, [tasks, nat and f"{nat}/32"]))
    group = next((rule.group for rule in rules), "<security group>")
    source = f"--source-group {tasks}" if tasks else f"--cidr {nat}/32"
    return failed(
        f"no rule admits {wanted} on {port}",
        f"aws ec2 authorize-security-group-ingress --group-id {group} --protocol tcp --port {port} {source}",
    )


def judge_open(rules: Iterable[InboundRule], port: int) -> Judgement:
    """Judge that not everybody gets as far as the password."""
    wide = [rule for rule in rules if rule.admits(port) and _is_the_world(rule.source)]
    if not wide:
        return passed(f"no rule admits everybody on {port}")
    rule = wide[0]
    return failed(
        f"{rule.group} admits {' and '.join(rule.source for rule in wide)} on {port}",
        f"aws ec2 revoke-security-group-ingress --group-id {rule.group} --protocol tcp --port {port} "
        f"--cidr {rule.source}, once the NAT's address has a rule of its own.",
    )


def _covers(source: str, address: str) -> bool:
    if "/" not in source or ":" in source:
        return False
    return ip_network(f"{address}/32").subnet_of(ip_network(source, strict=False))  # type: ignore[arg-type]


def _is_the_world(source: str) -> bool:
    # Two halves of the internet are the internet as well.
    return "/" in source and ip_network(source, strict=False).prefixlen <= 1


# ---- What a task saw ----


@dataclass(frozen=True)
class TaskSeen:
    """What a one-off task of a release's image said of itself; each None where it did not get so far."""

    started: bool
    reason: str = ""
    """Why it stopped, where it did not start."""
    variables: Mapping[str, bool] | None = None
    """Whether each secret's variable has a value."""
    address_faults: Sequence[str] | None = None
    tls_asked_for: bool | None = None
    task_role: str | None = None
    reach: str | None = None
    """`login`, or what kept it: `name`, `port`, `tls`, `refused`."""
    detail: str = ""

    @classmethod
    def of(cls, facts: Mapping[str, Any], reason: str) -> TaskSeen:
        """Return what the task's facts say."""
        return cls(
            started=bool(facts),
            reason=reason,
            variables=facts.get("variables"),
            address_faults=facts.get("address"),
            tls_asked_for=facts.get("tls"),
            task_role=facts.get("role"),
            reach=facts.get("reach"),
            detail=str(facts.get("detail", "")),
        )


def judge_task(task: TaskSeen) -> Judgement:
    """Judge that ECS could start the task, which proves the execution role on image, logs and each secret."""
    if not task.started:
        return failed(task.reason or "it said nothing")
    empty = sorted(name for name, there in (task.variables or {}).items() if not there)
    if empty:
        return failed(f"it started without a value for {', '.join(empty)}", "Fix the secret's key, then release again.")
    return passed(f"it started, with {counted(len(task.variables or {}), 'secret')}")


def judge_task_role(task: TaskSeen, expected: str) -> Judgement:
    """Judge the role whose credentials the task was given."""
    if not task.started:
        return unknown("no task started")
    if task.task_role is None:
        return unknown("the task could not read its own metadata")
    return passed(expected) if task.task_role == expected else failed(f"the task acts as {task.task_role}")


_STOPPED_AT = {
    "name": "its name does not resolve in the task's network",
    "port": "its port does not answer there",
    "tls": "it does not speak TLS, and the address requires it",
    "refused": "it refused the login",
}


def judge_reachable(task: TaskSeen) -> Judgement:
    """Judge how far the task came."""
    if not task.started:
        return unknown("no task started")
    if task.reach == "login":
        return passed(f"a task logged in{', over TLS' if task.detail == 'tls' else ''}")
    if task.reach in _STOPPED_AT:
        return failed("; ".join(filter(None, [_STOPPED_AT[task.reach], task.detail])))
    return unknown(task.detail or "the task did not get so far")
