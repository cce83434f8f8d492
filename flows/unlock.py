"""`unlock`: a human's word that nobody works on a Terraform state any more."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import Refused
from tasks.operation import Operation
from tasks.terraform_lock import delete_lock, read_lock

__all__ = ["unlock_state"]


def unlock_state(operation: Operation, state: str, *, confirm: Callable[[str], str]) -> str:
    """Delete a state's lock once its id was typed back; return what was done, in a sentence.

    Raises `Refused` while somebody holds the environment, and for any other answer.
    """
    record = operation.store.environment()
    if record.hold is not None:
        raise Refused(
            f"{operation.environment} is held by {record.hold.owner.flow}",
            why=f"it is at {record.hold.stage}, and its Terraform may be at work",
            do="Wait until it ends or `reconcile` has settled it.",
        )
    lock = read_lock(operation, state)
    if lock is None:
        return f"The state of {state} is not locked."
    answer = confirm(f"The lock {lock.id} was taken by {lock.who} at {lock.created}. Type its id to delete it: ")
    if answer.strip() != lock.id:
        raise Refused("The lock was left", why="what was typed is not its id", do="Type the whole id.")
    delete_lock(operation, lock)
    return f"The lock {lock.id} of {state} is gone."
