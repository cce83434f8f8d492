"""One-off tasks as processes beside a real Postgres: a release's migration step drives them as it drives ECS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.history import SlotOutputs, State
from core.migration import MigrationFile
from core.version import Version
from operation.operation import Operation
from systems.migrations import engine_of
from tasks.checkout import Checkout
from tasks.database import migrate_database
from tests.postgres import query
from tests.unit.facts import COMMIT, settings_with
from tests.unit.fakes import FakeAws

DEFINITION = "arn:aws:ecs:eu-west-1:123456789012:task-definition/team-shop-test-green-migration:7"


@dataclass
class Application:
    """A repository, the working directory of the image that was built of it, and its database."""

    operation: Operation
    aws: FakeAws
    address: str
    repository: Path
    image: Path
    migration: str
    """The `[migration]` section."""
    path: tuple[Path, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    ran: list[list[str]] = field(default_factory=list)
    between: Callable[[], object] = lambda: None
    """What happens in the database before a second task."""

    def __post_init__(self) -> None:
        self.aws.ecs.on_run = self._run
        slot = SlotOutputs(service_name="s", task_definition_arn="t:7", migration_task_definition_arn=DEFINITION)
        self.operation.journal.change(lambda a: a.started_as(slot))
        self.operation.journal.advance(State.PLANNED)
        self.operation.journal.advance(State.APPLIED)
        image = {"containerDefinitions": [{"image": self.operation.release.image}]}
        self.aws.ecs.definitions[DEFINITION] = image
        self.set(self.migration)

    def set(self, migration: str) -> None:
        """Write the section anew."""
        self.operation.block.settings = settings_with(f"\n[migration]\n{migration}\n")

    def _run(self, arguments: dict[str, Any]) -> int:
        (container,) = arguments["overrides"]["containerOverrides"]
        assert len(json.dumps(arguments["overrides"])) < 8192, "ECS takes no more"
        if self.ran:
            self.between()
        settings = self.operation.settings.migration
        command = [*settings.entry_point, *container.get("command", settings.command)]
        path = os.pathsep.join([*map(str, self.path), str(Path(sys.executable).parent), os.environ["PATH"]])
        given = {v["name"]: v["value"] for v in container.get("environment", [])}
        home = {"HOME": str(self.image), "PATH": path, "DATABASE_URL": self.address}
        ended = subprocess.run(
            command,
            cwd=self.image,
            env={**home, **self.variables, **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.ran.append(command)
        self.aws.logs.lines[:] = ended.stdout.splitlines()
        return ended.returncode

    def files(self) -> tuple[MigrationFile, ...]:
        engine = engine_of(self.operation.settings)
        assert engine is not None
        return engine.read_files(self.repository)

    def migrate(self, version: str = "v1.1.0", **options: bool) -> str:
        """Read the repository's files and migrate; return what the step says."""
        self.ran.clear()
        source = Checkout(Version.parse(version), COMMIT, self.repository, self.files())
        migrate_database.fn(self.operation, source, **options)
        return self.operation.journal.steps[-1].detail

    def query(self, sql: str) -> str:
        return query(self.address, sql)
