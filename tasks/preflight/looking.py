"""All looks at once: each in a thread of its own, none of which hides or delays another."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterable, Mapping

from core.errors import PointsmanError, cut
from core.preflight.judgement import Check, Judgement, Report, in_order, names_of, unknown
from tasks.preflight.ground import Ground, Look

__all__ = ["look_at"]


def look_at(ground: Ground, checks: Iterable[Check], looks: Mapping[str, Look], *, within: float) -> Report:
    """Return the findings of `checks` within so many seconds; a look that takes longer is reported as such.

    What goes wrong while it looks is no fault of the environment: that check is not checked, and says why.
    """
    wanted = list(checks)
    end = time.monotonic() + within
    judged: dict[str, Judgement] = {}
    threads = {check.name: _start(looks[check.name], ground, check.name, judged) for check in wanted}
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    late = unknown(f"no answer within {within:g} s")
    return in_order(wanted, {name: judged.get(name, late) for name in threads}, names_of(ground.settings))


def _start(look: Look, ground: Ground, name: str, judged: dict[str, Judgement]) -> threading.Thread:
    """Start a look. It may hang in a system that does not answer, and must not keep the process from ending."""

    def run() -> None:
        judged[name] = _looked(look, ground)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(run,), name=f"preflight {name}", daemon=True)
    thread.start()
    return thread


def _looked(look: Look, ground: Ground) -> Judgement:
    try:
        return look(ground)
    except PointsmanError as error:
        return unknown(str(error))
    except Exception as error:  # noqa: BLE001 - one look's own fault must not hide what the others see
        return unknown(cut(f"{type(error).__name__}: {error}", 300))
