"""What a one-off task of a release's image says of the environment around it: names and codes, never a value."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.settings import Migration
from systems.migrations.prisma import tool_of
from systems.migrations.task_script import behind_shell

__all__ = ["PreflightScript"]

_SCRIPT = Path(__file__).with_suffix(".js")


@dataclass(frozen=True)
class PreflightScript:
    """The command of that task, whose lines begin with `mark`; `variables` are those that secrets fill."""

    settings: Migration
    variables: Sequence[str]
    mark: str = field(default_factory=lambda: f"pointsman-{secrets.token_hex(6)}")

    @property
    def command(self) -> list[str]:
        """The container's command."""
        if behind_shell(self.settings.entry_point):
            return ["node -e 'eval(process.env.POINTSMAN_SCRIPT)'"]
        return ["node", "-e", _script()]

    @property
    def environment(self) -> dict[str, str]:
        """The container's variables beside its own. Sizes are bounded: overrides have 8,192 characters at most."""
        tool, options = tool_of(self.settings.command)
        task = {
            "mark": self.mark,
            "secrets": list(self.variables),
            "variable": self.settings.url_variable,
            "tool": tool,
            "options": options,
        }
        script = {"POINTSMAN_SCRIPT": _script()} if behind_shell(self.settings.entry_point) else {}
        return {"POINTSMAN_TASK": json.dumps(task, separators=(",", ":"))} | script

    def ended(self, line: str) -> bool:
        """Whether a line of the log is the script's last."""
        return line.startswith(f"{self.mark} ") and '"end":' in line

    def facts(self, lines: Iterable[str]) -> dict[str, Any]:
        """Return what the task said, out of its log; nothing where it did not get so far."""
        facts: dict[str, Any] = {}
        for line in lines:
            if line.startswith(f"{self.mark} "):
                facts |= json.loads(line.partition(" ")[2])
        return facts


def _script() -> str:
    lines = (line.strip() for line in _SCRIPT.read_text().splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))
