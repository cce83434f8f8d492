"""How it is seen which release a listener's address answers from: by what it says of itself, or by what AWS says.

docs/decisions/identity.md says what each proves.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from core.health_check import HealthCheck
from core.serving import Deployed, Serving
from core.settings import SmokeCheck
from core.smoke import CheckResult, Identity, judge_answered, judge_identity
from systems.http import Endpoint, ask
from systems.polling import patient

__all__ = ["ByAnswer", "ByTargets", "Recognition"]


class Recognition(Protocol):
    """Asks addresses of one listener whether a release answers there."""

    endpoint: Endpoint
    deployed: Deployed
    names_the_release: bool
    """Whether an answer itself names the release; else an address that still sends requests elsewhere is not seen."""

    def look(self, address: str, within: float) -> CheckResult:
        """Return whether the release answers at an address, asked once."""
        ...

    def proof(self) -> str:
        """Return in words what the last right look proved."""
        ...


@dataclass
class ByAnswer:
    """The application says version and revision itself, on a path of its own."""

    endpoint: Endpoint
    deployed: Deployed
    question: SmokeCheck
    names_the_release: bool = True

    def look(self, address: str, within: float) -> CheckResult:
        """Ask one address once which release it is."""
        answer = ask(self.endpoint, address, self.question.model_copy(update={"within_seconds": within}))
        try:
            answered = json.loads(answer.body) if answer.status == 200 else None
        except ValueError:
            answered = None
        if not isinstance(answered, dict):
            answered = None
        release = self.deployed.release
        return judge_identity(self.question.path, Identity(release.version, release.revision), answered, answer)

    def proof(self) -> str:
        """Return what the answers proved."""
        return f"{self.question.path} answered {self.deployed.release}"


@dataclass
class ByTargets:
    """AWS says what is behind the listener, and each address has only to answer.

    What AWS says is read again once it is older than `every` seconds; where AWS throttles or fails, nothing is proven.
    """

    endpoint: Endpoint
    deployed: Deployed
    check: HealthCheck
    question: SmokeCheck
    read: Callable[[], Serving]
    every: float
    names_the_release: bool = False
    _seen: Serving | None = None
    _read_at: float = field(default=float("-inf"))

    def look(self, address: str, within: float) -> CheckResult:
        """Look at AWS if the last look is too old, then ask one address for an answer of the application."""
        if self._seen is None or time.monotonic() - self._read_at > self.every:
            self._seen, self._read_at = patient(self.read), time.monotonic()
        answer = ask(self.endpoint, address, self.question.model_copy(update={"within_seconds": within}))
        return judge_answered(self.check, answer, self._seen, self.deployed)

    def proof(self) -> str:
        """Return what the last look proved."""
        count = len(self._seen.healthy) if self._seen else 0
        return (
            f"the listener sends all to {self.deployed.colour}, whose {count} healthy targets are tasks of "
            f"{self.deployed.definition_name}; each address answered"
        )
