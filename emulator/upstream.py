"""MiniStack, imported in one place and in one version only.

The additions replace private functions, so any other version is refused at start instead of failing later.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from emulator.settings import prepare_environment

__all__ = [
    "MINISTACK_VERSION",
    "WrongMiniStackError",
    "alb",
    "app",
    "cloudtrail",
    "cloudwatch",
    "cloudwatch_logs",
    "concurrency",
    "container_reaper",
    "ec2",
    "ecr",
    "ecs",
    "ecs_metadata",
    "iam",
    "iam_actions",
    "iam_evaluator",
    "rds",
    "replace",
    "responses",
    "route53",
    "router",
    "secretsmanager",
    "ssm",
    "sts",
    "tls",
]

MINISTACK_VERSION = "1.5.33"


class WrongMiniStackError(RuntimeError):
    """The installed MiniStack is not the one that the additions were written against."""


def _check_version() -> None:
    try:
        found = version("ministack")
    except PackageNotFoundError as error:
        raise WrongMiniStackError(
            f"ministack is not installed; install ministack[docker]=={MINISTACK_VERSION}"
        ) from error
    if found != MINISTACK_VERSION:
        raise WrongMiniStackError(
            f"ministack {found} is installed, but the emulator's additions replace private functions of "
            f"{MINISTACK_VERSION}; install ministack=={MINISTACK_VERSION}, or port emulator/ to {found}"
        )


_check_version()
prepare_environment()

import ministack.app as _app  # noqa: E402
import ministack.core.concurrency as _concurrency  # noqa: E402
import ministack.core.container_reaper as _container_reaper  # noqa: E402
import ministack.core.iam_actions as _iam_actions  # noqa: E402
import ministack.core.iam_evaluator as _iam_evaluator  # noqa: E402
import ministack.core.responses as _responses  # noqa: E402
import ministack.core.router as _router  # noqa: E402
import ministack.core.tls as _tls  # noqa: E402
import ministack.services.alb as _alb  # noqa: E402
import ministack.services.cloudtrail as _cloudtrail  # noqa: E402
import ministack.services.cloudwatch as _cloudwatch  # noqa: E402
import ministack.services.cloudwatch_logs as _cloudwatch_logs  # noqa: E402
import ministack.services.ec2 as _ec2  # noqa: E402
import ministack.services.ecr as _ecr  # noqa: E402
import ministack.services.ecs as _ecs  # noqa: E402
import ministack.services.ecs_metadata as _ecs_metadata  # noqa: E402
import ministack.services.iam as _iam  # noqa: E402
import ministack.services.rds as _rds  # noqa: E402
import ministack.services.route53 as _route53  # noqa: E402
import ministack.services.secretsmanager as _secretsmanager  # noqa: E402
import ministack.services.ssm as _ssm  # noqa: E402
import ministack.services.sts as _sts  # noqa: E402

alb: Any = _alb
app: Any = _app
cloudtrail: Any = _cloudtrail
cloudwatch: Any = _cloudwatch
cloudwatch_logs: Any = _cloudwatch_logs
concurrency: Any = _concurrency
container_reaper: Any = _container_reaper
ec2: Any = _ec2
ecr: Any = _ecr
ecs: Any = _ecs
ecs_metadata: Any = _ecs_metadata
iam: Any = _iam
iam_actions: Any = _iam_actions
iam_evaluator: Any = _iam_evaluator
responses: Any = _responses
route53: Any = _route53
router: Any = _router
rds: Any = _rds
secretsmanager: Any = _secretsmanager
ssm: Any = _ssm
sts: Any = _sts
tls: Any = _tls


def replace(module: Any, name: str, replacement: Any) -> Any:
    """Put `replacement` in the place of `module.name` and return what stood there.

    A handler that MiniStack also keeps in a table of actions is replaced there too.
    """
    if not hasattr(module, name):
        raise WrongMiniStackError(f"{module.__name__} has no {name}: this is not MiniStack {MINISTACK_VERSION}")
    original = getattr(module, name)
    setattr(module, name, replacement)
    for table in ("_ACTION_MAP", "_IAM_HANDLERS"):
        actions = getattr(module, table, {})
        for action, handler in actions.items():
            if handler is original:
                actions[action] = replacement
    return original
