"""Adapters under an operation's lease, asked in the words of the tests."""

from __future__ import annotations

from collections.abc import Callable

from core.colour import Colour, Weights
from core.ending import Ending
from core.history import Attempt
from core.release import Release
from core.serving import Deployed
from lifecycle.abort import Aborted, abort_attempt
from operation.operation import Operation
from systems.ecs import Start
from systems.http import Endpoint
from systems.one_off import OneOff, OneOffTask


def scale_to_zero(operation: Operation, colour: Colour) -> int | None:
    return operation.ecs.scale_to_zero(operation.slot(colour).service)


def start_slot(
    operation: Operation, colour: Colour, wanted: int, *, subject: str = "v1.1.0", within: float = 0.5
) -> int:
    service = operation.slot(colour).service
    return operation.ecs.start(service, Start(subject, wanted, within), lambda: operation.load_balancer.health(service))


def run_one_off(
    operation: Operation,
    heard: Callable[[str], bool] = lambda _line: False,
    *,
    timeout: float = 5,
    says_its_end: bool = False,
) -> OneOff:
    task = OneOffTask(operation.slot(Colour.GREEN).migration, "migration:1", timeout, says_its_end=says_its_end)
    return operation.one_offs.run(task, operation.owner.attempt, heard)


def stop_one_offs(operation: Operation, started_by: str) -> int:
    return operation.one_offs.stop(started_by, [operation.slot(colour).migration for colour in Colour])


def probe_release(operation: Operation, endpoint: Endpoint, release: Release, *, patience: float) -> int:
    deployed = Deployed(release, Colour.GREEN, "shop-test-green:1")
    recognition = operation.prober.recognise(deployed, None, endpoint)
    return operation.prober.see_release(recognition, patience=patience).asked


def read_weights(operation: Operation) -> Weights:
    return operation.load_balancer.weights()


def abort(operation: Operation, ending: Ending, attempt: Attempt | None = None, version: str = "v1.1.0") -> Aborted:
    """Abort what an operation is about, or a dead run's attempt in its place."""
    theirs = operation
    if attempt is not None:
        theirs = operation.with_journal_of_its_own()
        history = operation.records.version(version)
        theirs.journal.take_up(version, history.commit if history else "", attempt)
    lease = operation.record.lease
    assert lease is not None
    return abort_attempt(theirs, ending, lease)
