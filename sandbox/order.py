"""Work in the order of what it needs, side by side where it can."""

from __future__ import annotations

import graphlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from core.errors import PointsmanError

__all__ = ["in_order", "reversed_needs"]


def in_order(needs: Mapping[str, Sequence[str]], work: Callable[[str], None]) -> dict[str, float]:
    """Do the work of each name once that of those it needs is done; return the seconds by name.

    After a PointsmanError nothing more is begun, what is under way ends, and the first such error is raised.
    """
    sorter = graphlib.TopologicalSorter(needs)
    sorter.prepare()
    seconds: dict[str, float] = {}

    def timed(name: str) -> str:
        began = time.monotonic()
        work(name)
        seconds[name] = time.monotonic() - began
        return name

    problems: list[PointsmanError] = []
    with ThreadPoolExecutor(len(needs)) as pool:
        running: set[Future[str]] = set()
        while (sorter.is_active() and not problems) or running:
            if not problems:
                running |= {pool.submit(timed, name) for name in sorter.get_ready()}
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    sorter.done(future.result())
                except PointsmanError as problem:
                    problems.append(problem)
    if problems:
        raise problems[0]
    return seconds


def reversed_needs(needs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return what must have stopped before each name stops; what is needed but not named is left out."""
    return {name: [other for other, needed in needs.items() if name in needed] for name in needs}
