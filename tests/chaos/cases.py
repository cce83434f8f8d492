"""The fault matrix as tables: what fails where, and how it must end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.history import State
from sandbox.operator import fault
from tests.chaos.scene import Expected

BEFORE = "before"
"""Stands for the version that was live before the case."""

RELEASE_STAGES = ("build", "push", "plan", "vacate", "apply", "migrate", "start", "smoke", "shift", "moved", "confirm")
COLD_STAGES = ("init", "plan", "vacate", "apply", "start", "return", "moved", "record")
WARM_STAGES = ("return", "moved", "record")


def lost(service: str, action: str, match: str = "", times: int = 2) -> dict[str, Any]:
    """The answer of a write gets lost, that of the client's own second try as well."""
    return fault("lost_answer", service, action, match, times)


SILENT = {"src/server.js": "setInterval(() => {}, 1000);\n"}
NOT_READY = {
    "src/health.js": (
        "export const healthz = () => ({ status: 200, body: { status: 'ok' } });\n"
        "export const readyz = () => ({ status: 503, body: { status: 'no badge printer' } });\n"
    )
}


@dataclass(frozen=True)
class Failure:
    """A part that fails, and the step at which the release must end because of it."""

    name: str
    step: str
    overlay: str | Mapping[str, str] | None = None
    fault: dict[str, Any] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    warm: bool = False
    migrates: bool = False


FAILURES = (
    Failure("repository unreachable", "checkout", settings={"url": '"/nowhere/connections.git"'}),
    Failure("bad Dockerfile", "build", overlay="dockerfile"),
    Failure("registry refuses the login", "push", fault=fault("error:403", "ecr", "GetAuthorizationToken")),
    Failure("registry refuses the manifest", "push", fault=fault("error:403", match="/manifests/v")),
    Failure("state refused", "init", fault=fault("error:403", "s3", "GetObject", "tfstate?")),
    Failure("state lock refused", "plan", fault=fault("error:403", "s3", "PutObject", "tflock?")),
    Failure(
        "ECS refuses to vacate",
        "vacate",
        fault=fault("error:400:ClientException", "ecs", "UpdateService", '"desiredCount": 0', times=1),
        warm=True,
    ),
    Failure("Terraform error", "apply", fault=fault("error:400:ClientException", "ecs", "RegisterTaskDefinition")),
    Failure("state write refused", "apply", fault=fault("error:403", "s3", "PutObject", "tfstate?")),
    Failure("migration violates a constraint", "migrate", overlay="migration"),
    Failure(
        "ECS refuses the migration task",
        "migrate",
        fault=fault("error:400:ClientException", "ecs", "RunTask"),
        migrates=True,
    ),
    Failure("image crash-loops", "start", overlay="crash"),
    Failure("wrong health path", "start", overlay="unhealthy", settings={"start": "12"}),
    Failure("target never healthy", "start", overlay=SILENT, settings={"start": "12"}),
    Failure("smoke test fails", "smoke", overlay=NOT_READY),
    Failure("listener refuses weights", "shift", fault=fault("error:503", "elasticloadbalancing", "ModifyListener")),
)

KILLED = Expected(BEFORE, ("CRASHED",), (State.FAILED,))
KILLED_AT_ITS_END = Expected(None, ("CRASHED",), (State.FAILED, State.HEALTHY))
OUTLIVES_ITS_WORKER = Expected(None, ("COMPLETED",), (State.HEALTHY,))
CANCELLED = Expected(BEFORE, ("CANCELLED",), (State.ABORTED,))

RELEASE_KILLS: tuple[tuple[str, str, Expected], ...] = (
    *(("started", who, Expected(BEFORE, ("CRASHED",))) for who in ("flow", "both")),
    *((stage, "flow", KILLED) for stage in RELEASE_STAGES),
    ("record", "flow", KILLED_AT_ITS_END),
    *((stage, "both", KILLED) for stage in RELEASE_STAGES),
    ("record", "both", KILLED_AT_ITS_END),
    *((stage, "worker", OUTLIVES_ITS_WORKER) for stage in ("build", "apply", "shift")),
)

ROLLBACK_KILLS: tuple[tuple[str, str, str], ...] = (
    *(("cold", stage, "flow") for stage in COLD_STAGES),
    *(("warm", stage, "flow") for stage in WARM_STAGES),
    *(("cold", stage, "both") for stage in ("plan", "start", "moved")),
    *(("warm", stage, "both") for stage in ("moved",)),
    ("cold", "apply", "worker"),
)

RELEASE_CANCELS = RELEASE_STAGES
ROLLBACK_CANCELS = (("cold", "plan"), ("cold", "start"), ("cold", "moved"), ("warm", "return"))

S3_REFUSALS = (
    ("plan", "error:403"),
    ("apply", "error:403"),
    ("start", "error:403"),
    ("moved", "error:403"),
    ("record", "error:403"),
    ("moved", "error:503"),
    ("apply", "no_answer"),
)


@dataclass(frozen=True)
class LostAnswer:
    """A write whose answer gets lost, in a release that must go through all the same."""

    name: str
    fault: dict[str, Any]
    migrates: bool = False
    warm: bool = False
    new_service: bool = False
    may_fail: bool = False


LOST_ANSWERS = (
    LostAnswer("push of the manifest", lost("", "", "/manifests/v", times=1)),
    LostAnswer("UpdateService, vacating", lost("ecs", "UpdateService", '"desiredCount": 0'), warm=True),
    LostAnswer("UpdateService, starting", lost("ecs", "UpdateService", "forceNewDeployment")),
    LostAnswer("RunTask", lost("ecs", "RunTask"), migrates=True),
    LostAnswer("ModifyListener", lost("elasticloadbalancing", "ModifyListener")),
    LostAnswer("RegisterTaskDefinition by Terraform", lost("ecs", "RegisterTaskDefinition", times=1)),
    LostAnswer("UpdateService by Terraform", lost("ecs", "UpdateService", '"taskDefinition"', times=1)),
    LostAnswer("CreateService by Terraform", lost("ecs", "CreateService", times=1), new_service=True, may_fail=True),
    LostAnswer("PutObject of the state", lost("s3", "PutObject", "tfstate?", times=1)),
    LostAnswer("PutObject of the state's lock", lost("s3", "PutObject", "tflock?", times=1), may_fail=True),
    LostAnswer("DeleteObject of the state's lock", lost("s3", "DeleteObject", "tflock?", times=1)),
    LostAnswer("PutObject of every record", lost("s3", "PutObject", "releases/", times=0)),
)
