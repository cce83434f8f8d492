"""Which GitHub workflows of an application deploy by themselves: two deployers of one tag undo each other's work.

What a commit holds is what GitHub runs for it, unless the workflow is disabled at GitHub, which no file says.
https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import yaml

__all__ = ["OLD_ROLES", "DeployingWorkflow", "Evidence", "deploying_workflows", "is_workflow"]

OLD_ROLES = ("github_actions",)
"""Names of the roles that workflows deployed with before."""

_AT_COMMAND = (
    r"(?:^|[;&|(!{]|\$\(|\b(?:if|then|else|do|sudo|exec|time|npx|bunx|yarn|pnpm(?: exec| dlx)?)\s)\s*(?:\w+=\S*\s+)*"
)
_OPTIONS = r"(?:\s+-\S+(?:[ =](?![a-z-])\S+)?)*"
_COMMANDS: tuple[tuple[str, str], ...] = (
    ("terraform apply", rf"(?:terraform|tofu){_OPTIONS}\s+apply\b"),
    ("terraform destroy", rf"(?:terraform|tofu){_OPTIONS}\s+destroy\b"),
    (
        "aws ecs update-service",
        r"aws\b(?:\s+--\S+(?:\s+(?!ecs\b)\S+)?)*\s+ecs\s+(?:update-service|create-service|deploy|run-task)\b",
    ),
    (
        "aws elbv2 modify-listener",
        r"aws\b(?:\s+--\S+(?:\s+(?!elbv2\b)\S+)?)*\s+elbv2\s+(?:modify-listener|modify-rule)\b",
    ),
    ("ecs deploy", r"(?:ecs\s+(?:deploy|scale|update)|ecs-cli|copilot\s+(?:svc\s+)?deploy)\b"),
    ("cdk deploy", r"(?:cdk\s+deploy|serverless\s+deploy|sls\s+deploy|pulumi\s+up)\b"),
    ("prisma migrate deploy", r"(?:\S*/)?prisma\s+(?:migrate\s+deploy|db\s+push)\b"),
)
_PUSH = r"docker\s+(?:image\s+)?push\b|docker\s+(?:buildx\s+)?(?:build|bake)\b[^\n;&|]*\s--push\b"
_REGISTRY = re.compile(r"\.dkr\.ecr\.|\becr\s+get-login-password\b")
_ACTIONS: tuple[tuple[str, str], ...] = (
    ("aws-actions/amazon-ecs-deploy-task-definition", "aws-actions/amazon-ecs-deploy-task-definition"),
    ("aws-actions/amazon-ecs-deploy-express-service", "aws-actions/amazon-ecs-deploy-express-service"),
    ("brunocascio/ecs-deploy", "ecs deploy"),
    ("donaldpiret/ecs-deploy", "ecs deploy"),
)
_AWS_CREDENTIALS = "aws-actions/configure-aws-credentials"
_ECR_LOGIN = "aws-actions/amazon-ecr-login"
_BUILD_AND_PUSH = ("docker/build-push-action", "docker/bake-action")
_VERSION_START = re.compile(r"v(?:\d[\w.+-]*)?")
_EVERY_VERSION = frozenset({"*", "**", "v*", "v**", "v*.*.*", "v[0-9]*", "v[0-9]+.*"})
_EXPRESSION = re.compile(r"\$\{\{[^}]*\}\}")
_OFF = frozenset({"false", "${{ false }}", "${{false}}"})


@dataclass(frozen=True)
class Evidence:
    """One place of a workflow that deploys; not `certain` where it only may."""

    job: str
    step: str
    what: str
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.what} (job {self.job}, {self.step})"


@dataclass(frozen=True)
class DeployingWorkflow:
    """A workflow that deploys: its file, what starts it, and the places that show it."""

    path: str
    name: str
    triggers: tuple[str, ...]
    on_version_tag: bool
    evidence: tuple[Evidence, ...]

    @property
    def certain(self) -> bool:
        """Whether it deploys for sure, rather than holding power of which no use was recognised."""
        return any(evidence.certain for evidence in self.evidence)

    @property
    def must_be_off(self) -> bool:
        """Whether it deploys by itself when a version is tagged, as a release of ours does."""
        return self.on_version_tag and self.certain

    @property
    def only_pushes(self) -> bool:
        """Whether all that it surely does is to push an image, which deploys nothing by itself."""
        return all(
            evidence.what in ("docker push", "pushes an image") for evidence in self.evidence if evidence.certain
        )

    def __str__(self) -> str:
        seen = "; ".join(map(str, self.evidence))
        return f"{self.path} ({', '.join(self.triggers) or 'started by nothing'}): {seen}"


def is_workflow(path: str) -> bool:
    """Whether GitHub takes a file of the repository for a workflow."""
    return re.fullmatch(r"\.github/workflows/[^/]+\.ya?ml", path) is not None


def deploying_workflows(
    texts: Mapping[str, str], *, old_roles: Iterable[str] = OLD_ROLES
) -> tuple[DeployingWorkflow, ...]:
    """Return the workflows that deploy, by their paths, those that must be off first.

    `texts` holds files of one commit by their path from the repository's root: `.github/workflows/*.y*ml`, and local
    actions (`…/action.y*ml`) where they are to be followed. A reusable workflow counts for its callers, and one that
    runs after another for what starts that one. `old_roles` are names of roles with which workflows deployed so far.
    A file that is not valid YAML is left out: GitHub does not run it either.
    """
    files = {path: _read(text) for path, text in texts.items()}
    checkout = _Checkout({path: file for path, file in files.items() if file}, tuple(old_roles))
    found = [one for path in sorted(checkout.files) if is_workflow(path) and (one := checkout.judge(path))]
    return tuple(sorted(found, key=lambda one: (not one.must_be_off, one.path)))


def _read(text: str) -> Mapping[str, object]:
    try:
        # Every scalar stays a string: YAML 1.1 would read the key `on` as a truth value.
        read = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        return {}
    return _mapping(read)


@dataclass(frozen=True)
class _Checkout:
    files: Mapping[str, Mapping[str, object]]
    old_roles: tuple[str, ...]

    def judge(self, path: str) -> DeployingWorkflow | None:
        file = self.files[path]
        evidence = tuple(dict.fromkeys(self._evidence(path, frozenset())))
        if not evidence:
            return None
        name = _text(file.get("name")) or path.rpartition("/")[2]
        triggers, tagged = self._started_by(path, frozenset())
        return DeployingWorkflow(path, name, tuple(dict.fromkeys(triggers)), tagged, evidence)

    def _started_by(self, path: str, seen: frozenset[str]) -> tuple[list[str], bool]:
        """Return what starts a workflow, in words, and whether the tag of a version is among it."""
        events = _events(self.files[path].get("on"))
        triggers, tagged = [], False
        for event, options in events.items():
            if event == "workflow_run":
                told, by_tag = self._after(_strings(options.get("workflows")), seen | {path})
            else:
                told, by_tag = _trigger(event, options)
            triggers.append(told)
            tagged = tagged or by_tag
        return triggers, tagged

    def _after(self, names: list[str], seen: frozenset[str]) -> tuple[str, bool]:
        """Return it for a workflow that runs after others."""
        before = [p for p in self.files if is_workflow(p) and p not in seen and self._is_called(p, names)]
        return f"after {', '.join(names)}", any(self._started_by(path, seen)[1] for path in before)

    def _is_called(self, path: str, names: list[str]) -> bool:
        return (_text(self.files[path].get("name")) or path) in names

    def _evidence(self, path: str, seen: frozenset[str]) -> Iterator[Evidence]:
        for job_name, job in _mapping(self.files[path].get("jobs")).items():
            parts = _mapping(job)
            if _text(parts.get("if")).strip() in _OFF:
                continue
            uses = _text(parts.get("uses"))
            called = self._local(uses)
            if called is None and "deploy" in uses.lower():
                yield Evidence(job_name, f"uses {uses}", "calls a workflow that is not in this commit", False)
            if called and called not in seen:
                for inner in self._evidence(called, seen | {path}):
                    yield Evidence(job_name, f"{called}, {inner.step}", inner.what, inner.certain)
            yield from self._in_steps(job_name, parts.get("steps"), seen | {path})

    def _in_steps(self, job: str, given: object, seen: frozenset[str]) -> Iterator[Evidence]:
        steps = [step for step in map(_mapping, given if isinstance(given, list) else []) if not _is_off(step)]
        to_aws = any(_reaches_registry(step) for step in steps)
        for number, step in enumerate(steps, 1):
            where = f"step {_text(step.get('name')) or _text(step.get('id')) or number}"
            uses = _text(step.get("uses"))
            for what, certain in (*_run(_text(step.get("run")), to_aws), *self._used(uses, step, to_aws)):
                yield Evidence(job, where, what, certain)
            called = self._local(uses)
            if called and called not in seen:
                inner_steps = _mapping(self.files[called].get("runs")).get("steps")
                for inner in self._in_steps(job, inner_steps, seen | {called}):
                    yield Evidence(job, f"{where}, {called}, {inner.step}", inner.what, inner.certain)

    def _used(self, uses: str, step: Mapping[str, object], to_aws: bool) -> Iterator[tuple[str, bool]]:
        action, options = uses.partition("@")[0].lower(), _mapping(step.get("with"))
        for known, what in _ACTIONS:
            if action == known:
                yield what, True
        if action == _AWS_CREDENTIALS and (role := _text(options.get("role-to-assume"))):
            if role.rpartition("/")[2].strip() in self.old_roles:
                yield f"takes the role {role.rpartition('/')[2].strip()}", True
            elif "${{" in role:
                yield "takes a role of AWS that the file does not name", False
        if action in _BUILD_AND_PUSH and _text(options.get("push")).strip() not in ("", *_OFF):
            yield "pushes an image", to_aws

    def _local(self, uses: str) -> str | None:
        """Return the path of a file of the same commit that is used, if it is at hand."""
        if not uses.startswith("./"):
            return None
        path = uses.removeprefix("./").rstrip("/")
        return next((p for p in (path, f"{path}/action.yml", f"{path}/action.yaml") if p in self.files), None)


def _run(script: str, to_aws: bool) -> Iterator[tuple[str, bool]]:
    """Return what a step's script does, certain where it is a command of its own rather than a word of one."""
    joined = re.sub(r"\\\r?\n", " ", _EXPRESSION.sub("expression", script))
    lines = "\n".join(line for line in joined.splitlines() if not line.lstrip().startswith("#"))
    for what, pattern in _COMMANDS:
        if re.search(_AT_COMMAND + pattern, lines, re.MULTILINE):
            yield what, True
        elif re.search(rf"\b{pattern}", lines):
            yield f"{what} (in another command)", False
    if re.search(_PUSH, lines):
        yield "docker push", to_aws


def _reaches_registry(step: Mapping[str, object]) -> bool:
    action = _text(step.get("uses")).partition("@")[0].lower()
    return action in (_AWS_CREDENTIALS, _ECR_LOGIN) or bool(_REGISTRY.search(_text(step.get("run"))))


def _is_off(step: Mapping[str, object]) -> bool:
    return _text(step.get("if")).strip() in _OFF


def _events(on: object) -> dict[str, Mapping[str, object]]:
    if isinstance(on, Mapping):
        return {str(event): _mapping(options) for event, options in on.items()}
    return {event: {} for event in _strings(on)}


def _trigger(event: str, options: Mapping[str, object]) -> tuple[str, bool]:
    """Return an event in words, and whether a version's tag makes it.

    Where a push is limited to branches only, tags start nothing, and the reverse; paths do not count for tags.
    """
    if event == "push":
        tags, ignored = _strings(options.get("tags")), _strings(options.get("tags-ignore"))
        if "tags" in options:
            return f"push of tags {', '.join(tags)}", any(map(_may_be_version, tags))
        if "tags-ignore" in options:
            return f"push of tags but {', '.join(ignored)}", not _EVERY_VERSION & set(ignored)
        if "branches" in options or "branches-ignore" in options:
            return f"push of branches {', '.join(_strings(options.get('branches'))) or 'but some'}", False
        return "every push, of tags too", True
    if event == "create":
        return "a new branch or tag", True
    if event == "release":
        return "a release at GitHub", True
    return {"workflow_dispatch": "by hand", "workflow_call": "called by others"}.get(event, event), False


def _may_be_version(pattern: str) -> bool:
    """Whether a pattern can match a version's tag, told by what it begins with."""
    if pattern.startswith("!"):
        return False
    special = re.search(r"[*?+\[\\]", pattern)
    literal = pattern if special is None else pattern[: special.start()]
    if special is not None and special.group() in "?+" and literal:
        literal = literal[:-1]  # the character before may be missing, or come again
    return literal == "" or _VERSION_START.fullmatch(literal) is not None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
