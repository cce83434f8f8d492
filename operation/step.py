"""A step of a run: one decorator gives the task run, the record's step, the retry and the name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State as PrefectState
from prefect.client.schemas.objects import TaskRun

from core.errors import Transient
from operation.operation import Operation

__all__ = ["Done", "done", "skipped", "step"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Done(Generic[R]):
    """How a step ended well: a sentence for the record, and a value for the step after it."""

    detail: str
    value: R
    skipped: bool = False


@overload
def done(detail: str) -> Done[None]: ...
@overload
def done(detail: str, value: R) -> Done[R]: ...
def done(detail: str, value: Any = None) -> Done[Any]:
    """Return that the step did what it intended."""
    return Done(detail, value)


@overload
def skipped(reason: str) -> Done[None]: ...
@overload
def skipped(reason: str, value: R) -> Done[R]: ...
def skipped(reason: str, value: Any = None) -> Done[Any]:
    """Return that there was nothing to do, and why."""
    return Done(reason, value, skipped=True)


def step(
    name: str, intent: str, *, writes: bool = True, goes_home: bool = False
) -> Callable[[Callable[Concatenate[Operation, P], Done[R]]], Task[Concatenate[Operation, P], R]]:
    """Return the decorator that makes a function a step.

    Prefect shows a task run of that name, and the record has a step of it with `intent`; both are format strings over
    the function's arguments. It is never served from a cache, and run again only after a `Transient` error. Its result
    is kept in memory alone, whatever Prefect is set to: it may hold what a child process is given. With `writes=False`
    the step changes nothing in the account (see `Journal.step`). One that `goes_home` waits for no record, and its
    caller tries again itself.
    """

    def decorate(body: Callable[Concatenate[Operation, P], Done[R]]) -> Task[Concatenate[Operation, P], R]:
        signature = inspect.signature(body)

        @functools.wraps(body)
        def run(operation: Operation, *args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(operation, *args, **kwargs)
            bound.apply_defaults()
            said = (text.format(**bound.arguments) for text in (name, intent))
            with operation.journal.step(*said, writes=writes, tolerate_unwritten_record=goes_home) as under_way:
                ended = body(operation, *args, **kwargs)
                (under_way.skip if ended.skipped else under_way.done)(ended.detail)
            return ended.value

        return task(
            name=name,
            task_run_name=name,
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=0 if goes_home else 2,
            retry_delay_seconds=[1, 3],
            retry_condition_fn=_is_transient,
        )(run)

    return decorate


def _is_transient(_task: Task[..., object], _run: TaskRun, state: PrefectState[object]) -> bool:
    return isinstance(state.result(raise_on_failure=False), Transient)
