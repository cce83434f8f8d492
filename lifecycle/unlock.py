"""`unlock`: an operator's word that nobody works on a Terraform state any more."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import Refused
from core.lease import LeaseVerdict
from core.settings import ACCOUNT
from operation.operation import Operation, open_account

__all__ = ["unlock_state"]


def unlock_state(operation: Operation, state: str, *, confirm: Callable[[str], str]) -> str:
    """Delete a state's lock once its id was typed back; return what was done, in a sentence.

    Raises `Refused` while somebody holds the environment, and for any other answer.
    """
    for about in (operation, open_account(operation)) if state == ACCOUNT else (operation,):
        record = about.records.environment()
        lease = record.lease
        # Nobody cleans up the account: an abandoned lease there is not an obstacle.
        if lease is not None and (about is operation or about.lease.judge(record) is not LeaseVerdict.ABANDONED):
            raise Refused(
                f"{about.environment} is held by {lease.owner.flow}",
                why=f"it is at {lease.step}, and its Terraform may be running",
                do="Wait until it ends or `reconcile` has cleaned up.",
            )
    lock = operation.state_locks.read(state)
    if lock is None:
        return f"The state of {state} is not locked."
    answer = confirm(f"The lock {lock.id} was taken by {lock.who} at {lock.created}. Type its id to delete it: ")
    if answer.strip() != lock.id:
        raise Refused("The lock was not deleted", why="the typed text is not its id", do="Type the full id.")
    operation.state_locks.delete(lock)
    return f"The lock {lock.id} of {state} was deleted."
