"""What a one-off task of the candidate's image runs in place of the migration's command, and what it reports."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.migration import Reading, TableRow
from systems.migrations.engine import Expectation, TaskReport

__all__ = ["Interpreter", "TaskScript", "behind_shell", "node", "python", "source_of"]

_SHELLS = ("sh", "bash", "ash", "dash")
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Interpreter:
    """How a script is handed over: as an argument, or to a shell in one word that takes it out of a variable."""

    command: tuple[str, ...]
    evaluate: str


def node() -> Interpreter:
    """Return Node.js."""
    return Interpreter(("node", "-e"), "eval(process.env.POINTSMAN_SCRIPT)")


def python(called: Sequence[str] = ("python",)) -> Interpreter:
    """Return Python, as it is called in the image."""
    return Interpreter((*called, "-c"), 'import os; exec(os.environ["POINTSMAN_SCRIPT"])')


def behind_shell(entry_point: Sequence[str]) -> bool:
    """Whether a container's entry point takes its first argument for a script."""
    return len(entry_point) > 1 and Path(entry_point[0]).name in _SHELLS and entry_point[-1] == "-c"


def source_of(*files: str, comment: str) -> str:
    """Return the scripts of these names as one, without comments. Indentation is Python's syntax, and stays there."""
    lines = [line for file in files for line in (_HERE / file).read_text().splitlines()]
    kept = (line for line in lines if line.strip() and not line.strip().startswith(comment))
    return "\n".join(line if comment == "#" else line.strip() for line in kept)


@dataclass(frozen=True)
class TaskScript:
    """The command of a task that reads, and migrates where all is as expected; its lines begin with `mark`."""

    source: str
    interpreter: Interpreter
    entry_point: Sequence[str]
    migrate: Sequence[str]
    expected: Expectation | None
    facts: Mapping[str, Any]
    mark: str = field(default_factory=lambda: f"pointsman-{secrets.token_hex(6)}")

    @property
    def command(self) -> list[str]:
        """The container's command."""
        if self._behind_shell:
            return [f"{' '.join(self.interpreter.command)} '{self.interpreter.evaluate}'"]
        return [*self.interpreter.command, self.source]

    @property
    def _behind_shell(self) -> bool:
        return behind_shell(self.entry_point)

    @property
    def environment(self) -> dict[str, str]:
        """The container's variables beside its own. Sizes are bounded: overrides have 8,192 characters at most."""
        task = {
            "mark": self.mark,
            **self.facts,
            "command": [*(self.entry_point if self._behind_shell else ()), *self.migrate],
            "image": self.expected.image if self.expected else None,
            "table": self.expected.table if self.expected else None,
            "judged": self.expected is not None and self.expected.judged,
        }
        script = {"POINTSMAN_SCRIPT": self.source} if self._behind_shell else {}
        return {"POINTSMAN_TASK": json.dumps(task, separators=(",", ":"))} | script

    def speaks(self, line: str) -> bool:
        """Whether a line of the log is the script's own."""
        return line.startswith(f"{self.mark} ")

    def ended(self, line: str) -> bool:
        """Whether that line is its last."""
        return self.speaks(line) and '"end":' in line

    def report(self, lines: Iterable[str]) -> TaskReport:
        """Return what the task said, out of its log."""
        facts: dict[str, Any] = {}
        for line in lines:
            if self.speaks(line):
                for name, value in json.loads(line.partition(" ")[2]).items():
                    facts[name] = [*facts[name], *value] if isinstance(facts.get(name), list) else value
        image = facts.get("image")
        held = tuple((name, digest) for name, digest in image) if image is not None else None
        return TaskReport(
            before=Reading(held, _rows(facts["before"])) if "before" in facts else None,
            after=Reading(held, _rows(facts["after"])) if "after" in facts else None,
            migrated=bool(facts.get("migrating")),
            unreadable=facts.get("unreadable", ""),
            exit_code=facts.get("end"),
        )


def _rows(given: list[list[Any]] | None) -> tuple[TableRow, ...] | None:
    return None if given is None else tuple(TableRow(*row) for row in given)
