"""An operator's command beside the database: its exit code, its lines, and what the record keeps of it."""

from __future__ import annotations

from core.record import SlotOutputs
from flows.run import run_command
from tasks.operation import Operation
from tests.unit.facts import owner, settings_with
from tests.unit.fakes import FakeAws, operation_of, store_of

SLOT = SlotOutputs(service_name="s", task_definition_arn="t:7", migration_task_definition_arn="m:7")


def test_the_record_keeps_a_command_without_its_secrets(operation: Operation, aws: FakeAws) -> None:
    operation.store.change_environment(
        lambda r: r.model_copy(update={"live": r.live and r.live.model_copy(update={"slot": SLOT})})
    )
    operation.free()
    by_hand = operation_of(aws, settings_with(), owner("by-hand", pid=9))
    assert run_command(by_hand, ["psql", "postgres://app:hunter2@db/app"], None, print) == 0
    kept = store_of(aws.s3).environment().commands[-1]
    assert kept.command == "psql postgres://app:***@db/app"
    assert (kept.version, kept.exit_code) == ("v1.0.0", 0)
