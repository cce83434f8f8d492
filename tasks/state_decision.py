"""A human's word that a state's version is to be restored: the environment and the version, as they type them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment
from pydantic import Field

from core.errors import Refused
from operation.operation import Operation
from operation.step import Done, done, step

__all__ = ["Question", "RestoreDecision", "confirm_restore"]

_TIMEOUT = 86_400


@dataclass(frozen=True)
class Question:
    """What a human is asked: whether that version of a state is to be restored, and what they see of it."""

    state: str
    version_id: str
    fingerprint: str
    """Of all versions that were shown."""
    shown: str

    def key(self, attempt: str) -> str:
        """Return the name of the answer to it: other versions, another attempt, another answer.

        Prefect takes letters, digits and dashes; S3's version ids hold others.
        """
        version = hashlib.sha256(self.version_id.encode()).hexdigest()[:12]
        return f"restore-{self.state}-{version}-{self.fingerprint}-{attempt}"


class RestoreDecision(RunInput):
    """What an operator answers."""

    environment: str = Field(description="Type the environment's name.")
    version_id: str = Field(description="Type the id of the version that is to be restored.")
    name: str = Field(min_length=1, max_length=100, description="Your name; recorded as typed.")


def confirm_restore(operation: Operation, question: Question, confirm: str | None, read: Callable[[str], str]) -> None:
    """Return once a human confirmed; raise `Refused` for any other answer.

    `confirm` is what was typed beforehand, `<environment> <version id>`. Without it a deployment's run is suspended for
    a form in the UI, whose answer belongs to exactly these versions of the state; a run from a shell asks there. No
    lease is held meanwhile: what was shown is looked at again before anything is written.
    """
    wanted = f"{operation.environment} {question.version_id}"
    by = "whoever typed --confirm"
    if confirm is None and deployment.name is not None:
        # Prefect suspends a flow, never a task: nothing here is a step until the answer is there.
        decision = suspend_flow_run(
            wait_for_input=RestoreDecision.with_initial_data(description=question.shown),
            timeout=_TIMEOUT,
            key=question.key(operation.owner.attempt),
        )
        confirm, by = f"{decision.environment} {decision.version_id}", decision.name
    elif confirm is None:
        by = "whoever sits at the terminal"
        try:
            confirm = read(f"{question.shown}\n\nType `{wanted}` to make that version the newest: ")
        except EOFError:
            confirm = ""
    take_confirmation(operation, confirm, wanted, by)


@step("confirm", "compare what was typed with what is to be restored", writes=False)
def take_confirmation(_operation: Operation, typed: str, wanted: str, by: str) -> Done[None]:
    """Raise `Refused` unless the environment and the version id were typed."""
    if typed.split() != wanted.split():
        raise Refused(
            "The state was not restored",
            why=f"{typed.strip()!r} is not the environment's name and the version's id",
            do=f"Type both, or give `--confirm '{wanted}'`; nothing was changed.",
        )
    return done(f"confirmed by {by}")
