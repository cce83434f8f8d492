"""What becomes of a stack that serves the application already, once an environment of ours stands beside it.

Facts in, a table out: what is taken as it is, what Terraform imports, what stays beside ours, what must be off first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from core.errors import Refused
from core.settings import EnvironmentSettings
from core.version import Version
from core.words import counted
from core.workflows import OLD_ROLES, DeployingWorkflow

__all__ = [
    "Adoption",
    "Fate",
    "FoundBalancer",
    "FoundBucket",
    "FoundRecord",
    "FoundRepository",
    "FoundRole",
    "FoundSecret",
    "FoundService",
    "FoundStack",
    "Row",
    "names_we_make",
    "plan_adoption",
    "secret_named_by",
    "serves_application",
]

_ADMINISTRATOR = "AdministratorAccess"


class Fate(StrEnum):
    """What becomes of one thing of the stack."""

    USED = "used as it is"
    IMPORTED = "imported"
    BESIDE = "stays beside"
    OFF = "must be off first"
    IN_THE_WAY = "in the way"


@dataclass(frozen=True)
class FoundBalancer:
    """A load balancer in front of a service: its listeners in words, and what its target group asks."""

    name: str
    dns_name: str
    listeners: tuple[str, ...]
    target_group: str
    health_check_path: str
    healthy: int
    health_check_matcher: str = "200"


@dataclass(frozen=True)
class FoundSecret:
    """A secret that a container gets: the variable, and where its value lies. The key is empty for all of it."""

    variable: str
    secret: str
    key: str
    parameter: bool = False
    """Whether it is a parameter of SSM."""

    @property
    def place(self) -> str:
        """What of it the container is given."""
        return f"its key {self.key}" if self.key else "all of it"


@dataclass(frozen=True)
class FoundService:
    """A service that runs the application, with the task definition that it runs."""

    cluster: str
    name: str
    task_definition: str
    image: str
    desired: int
    running: int
    cpu: int
    memory: int
    container_port: int
    variables: tuple[str, ...]
    """Their names: a value may be a secret that stands in the wrong place."""
    secrets: tuple[FoundSecret, ...]
    balancers: tuple[FoundBalancer, ...]

    @property
    def tag(self) -> str | None:
        """The tag of its image; None where it is named by digest or not at all."""
        last = self.image.partition("@")[0].rpartition("/")[2]
        return last.partition(":")[2] or None


@dataclass(frozen=True)
class FoundRole:
    """A role that GitHub's workflows may assume."""

    name: str
    policies: tuple[str, ...]
    subjects: tuple[str, ...]


@dataclass(frozen=True)
class FoundRepository:
    """The image repository of the name that `account` gives to its own."""

    name: str
    encryption: str
    mutable: bool
    ours: bool = False
    """Whether it is in the state of the root `account` already."""

    @property
    def importable(self) -> bool:
        """Whether Terraform can take it over as it is: another encryption would have it replaced, images and all."""
        return self.encryption == "AES256" and not self.ours


@dataclass(frozen=True)
class FoundBucket:
    """The bucket that the settings name for state and records, with what speaks against using it."""

    name: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class FoundRecord:
    """A record in Route 53 that leads to a load balancer of the stack."""

    zone: str
    name: str
    type: str
    target: str


@dataclass(frozen=True)
class FoundStack:
    """All that was found. `taken` are names that we would make and that somebody else made, each with its kind."""

    services: tuple[FoundService, ...] = ()
    roles: tuple[FoundRole, ...] = ()
    oidc_provider: str | None = None
    repository: FoundRepository | None = None
    bucket: FoundBucket | None = None
    records: tuple[FoundRecord, ...] = ()
    taken: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Row:
    """One thing of the stack and what becomes of it."""

    kind: str
    name: str
    fate: Fate
    remark: str

    def cells(self) -> tuple[str, str, str, str]:
        """Return it as a table shows it."""
        return self.kind, self.name, self.fate.value, self.remark


@dataclass(frozen=True)
class Adoption:
    """The table, the settings to write, and the next steps in order."""

    rows: tuple[Row, ...]
    settings: str
    steps: tuple[str, ...]

    @property
    def in_the_way(self) -> tuple[Row, ...]:
        """What would make `provision` fail."""
        return tuple(row for row in self.rows if row.fate is Fate.IN_THE_WAY)


def secret_named_by(variable: str, value_from: str) -> FoundSecret:
    """Return which secret or parameter a container's `valueFrom` names.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
    """
    parts = value_from.split(":")
    if parts[2:3] != ["secretsmanager"] or len(parts) < 7:
        return FoundSecret(variable, value_from, "", parameter=True)
    name = re.sub(r"-[0-9A-Za-z]{6}$", "", parts[6])
    return FoundSecret(variable, name, parts[7] if len(parts) > 7 else "")


def serves_application(settings: EnvironmentSettings, cluster: str, service: str, image: str) -> bool:
    """Whether a service is taken for the application's: by its image's repository, or by its name.

    What runs in this environment's own cluster is ours, and that of another stage is another environment's.
    """
    if cluster.startswith(f"{settings.namespace}-{settings.name}-"):
        return False
    path, _, last = image.partition("@")[0].rpartition("/")
    repository = f"{path}/{last.partition(':')[0]}"
    return repository.endswith(f"/{settings.repositories[0]}") or settings.name in service


def names_we_make(settings: EnvironmentSettings) -> tuple[tuple[str, str], ...]:
    """Return what `provision` makes and AWS allows only once an account, each as kind and name."""
    shared, short = f"{settings.namespace}-{settings.name}", f"{settings.name}-{settings.stage}"
    roles = (f"{shared}-operator", *(f"{settings.cluster}-{part}" for part in ("pipeline", "execution", "task")))
    if settings.provision.account.get("github_environment") is not None:
        roles = (*roles, f"{shared}-github-actions")
    return (
        *(("role", name) for name in roles),
        ("cluster", settings.cluster),
        ("log group", settings.cluster),
        ("load balancer", short),
        ("target group", f"{short}-blue"),
        ("target group", f"{short}-green"),
    )


def plan_adoption(
    settings: EnvironmentSettings,
    found: FoundStack,
    workflows: Collection[DeployingWorkflow] | None,
    *,
    ours: str | None = None,
) -> Adoption:
    """Return what becomes of a stack. `workflows` is None where no checkout was looked at.

    `ours` is the load balancer of this environment once it is provisioned.
    """
    rows = (
        *_workflow_rows(workflows),
        *(_role_row(role) for role in found.roles),
        *(row for service in found.services for row in _service_rows(service)),
        *_shared_rows(found),
        *(_record_row(record, ours) for record in found.records),
        *(Row(kind, name, Fate.IN_THE_WAY, "`provision` makes one of this name") for kind, name in found.taken),
    )
    return Adoption(rows, _settings(settings, found), _steps(settings, found, rows, ours))


def _workflow_rows(workflows: Collection[DeployingWorkflow] | None) -> list[Row]:
    if workflows is None:
        unknown = "not looked at: name a checkout of the application with --checkout"
        return [Row("workflow", ".github/workflows/", Fate.OFF, unknown)]
    return [
        Row("workflow", one.path, Fate.OFF, f"{', '.join(one.triggers)}: {'; '.join(e.what for e in one.evidence)}")
        for one in workflows
        if one.on_version_tag
    ]


def _role_row(role: FoundRole) -> Row:
    held = ", ".join(role.policies) or "no policies"
    whom = ", ".join(role.subjects) or "whoever its trust policy says"
    if role.name in OLD_ROLES or _ADMINISTRATOR in role.policies:
        return Row("role", role.name, Fate.OFF, f"{held} for {whom}: no release of ours needs it")
    return Row("role", role.name, Fate.BESIDE, f"{held} for {whom}")


def _service_rows(service: FoundService) -> list[Row]:
    tag = service.tag or "an image without a tag"
    tasks = counted(service.running, "task")
    remark = f"runs {tag} on {tasks}; goes with its own Terraform at the end"
    rows = [Row("service", f"{service.cluster}/{service.name}", Fate.BESIDE, remark)]
    why = "carries the traffic until DNS leads elsewhere; its listener and target group cannot become two colours"
    rows += [
        Row("load balancer", one.name, Fate.BESIDE, f"{', '.join(one.listeners)}, {one.healthy} healthy; {why}")
        for one in service.balancers
    ]
    rows += [
        Row("secret", one.secret, Fate.USED, f"read by name: {one.variable} from {one.place}")
        for one in service.secrets
    ]
    return rows


def _shared_rows(found: FoundStack) -> list[Row]:
    rows: list[Row] = []
    if found.oidc_provider:
        remark = "there can be one only; remove it from the old state before that stack is destroyed"
        rows.append(Row("OIDC provider", found.oidc_provider, Fate.USED, remark))
    if found.repository:
        rows.append(_repository_row(found.repository))
    if found.bucket and found.bucket.faults:
        rows.append(Row("bucket", found.bucket.name, Fate.IN_THE_WAY, "; ".join(found.bucket.faults)))
    elif found.bucket:
        rows.append(Row("bucket", found.bucket.name, Fate.USED, "ours are the keys below terraform/ and releases/"))
    return rows


def _repository_row(repository: FoundRepository) -> Row:
    if repository.ours:
        return Row("image repository", repository.name, Fate.USED, "in the state of account already")
    if repository.encryption != "AES256":
        why = f"encrypted by {repository.encryption}, so Terraform would replace it: images and all"
        return Row("image repository", repository.name, Fate.IN_THE_WAY, why)
    made = "its tags become immutable" if repository.mutable else "its tags are immutable already"
    remark = f"{made}; remove it from the old state before that stack is destroyed"
    return Row("image repository", repository.name, Fate.IMPORTED, remark)


def _record_row(record: FoundRecord, ours: str | None) -> Row:
    then = f"then `dns` shares it out to {ours}" if ours else "`dns` shares it out once ours is provisioned"
    return Row("DNS record", f"{record.name} {record.type}", Fate.USED, f"leads to {record.target}; {then}")


def _settings(settings: EnvironmentSettings, found: FoundStack) -> str:
    """Return what the environment's file should say, as TOML: the facts of the first service, and what is shared."""
    lines: list[str] = []
    for service in found.services[:1]:
        lines += _service_settings(service)
    account: list[str] = []
    if found.oidc_provider and settings.provision.account.get("github_environment") is not None:
        account.append(f"github_oidc_provider_arn = {json.dumps(found.oidc_provider)}")
    if found.repository and found.repository.importable:
        account.append("import_ecr_repository = true")
    if account:
        lines += ["", "[provision.account]", *account]
    return "\n".join(lines).strip() + "\n" if lines else ""


def _service_settings(service: FoundService) -> list[str]:
    checks = [(one.health_check_path, one.health_check_matcher) for one in service.balancers]
    path, matcher = next(iter(checks), (None, "200"))
    lines = [
        "[service]",
        f"container_port = {service.container_port}",
        f"cpu = {service.cpu}",
        f"memory = {service.memory}",
        f"desired_count = {max(service.desired, 1)}",
        *([f"health_check_path = {json.dumps(path)}"] if path else []),
        *([f"health_check_matcher = {json.dumps(matcher)}"] if matcher != "200" else []),
    ]
    if service.variables:
        lines += ["", "[service.variables]"]
        lines += [f"# {name}: as in {service.task_definition}, unless it is a secret" for name in service.variables]
    for one in service.secrets:
        kind = "parameter" if one.parameter else "secret"
        lines += ["", f"[service.secrets.{one.variable}]", f"{kind} = {json.dumps(one.secret)}"]
        lines += [f"key = {json.dumps(one.key)}"] if one.key else []
    return lines


def _steps(settings: EnvironmentSettings, found: FoundStack, rows: Sequence[Row], ours: str | None) -> tuple[str, ...]:
    stage = settings.stage
    steps: list[str] = []
    if any(row.fate is Fate.IN_THE_WAY for row in rows):
        steps.append("Clear what is in the way, and run this again.")
    if any(row.fate is Fate.OFF for row in rows):
        steps.append("Switch off what must be off.")
    if ours is None:
        steps.append(f"Write the settings into environments/{stage}.toml, and run `provision/{stage}`.")
        steps.append("Let the database admit the new NAT address on port 5432.")
    steps.append(_first_release(found, stage))
    steps.append(f"Move the name: `python -m flows dns {stage} --zone … --name … --weight 10`, and so on to 100.")
    steps.append("Take from the old state what ours uses, then destroy the old stack with its own Terraform.")
    return tuple(steps)


def _first_release(found: FoundStack, stage: str) -> str:
    tags = {service.tag for service in found.services}
    tag = tags.pop() if len(tags) == 1 else None
    if tag is None:
        return f"Release to {stage} the version that runs there now, so that nothing is migrated."
    try:
        Version.parse(tag)
    except Refused:
        return f"{tag} is not a version: tag its commit as vX.Y.Z and release that to {stage}, so nothing is migrated."
    return f"Release {tag} to {stage}: the version that runs there now, so that nothing is migrated."
