"""A run's folders on this machine, which go with it."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import gettempdir, mkdtemp

__all__ = ["Workspace", "remove_workspace"]


class Workspace:
    """Folders of one attempt; made when first asked for."""

    def __init__(self, attempt: str) -> None:
        self._attempt = attempt
        self._root: Path | None = None

    def folder(self, name: str) -> Path:
        """Return a new folder of this run's."""
        if self._root is None:
            self._root = Path(mkdtemp(prefix=f"pointsman-{self._attempt}-"))
        return Path(mkdtemp(prefix=f"{name}-", dir=self._root))

    def remove(self) -> None:
        """Remove all of them."""
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)


def remove_workspace(attempt: str) -> None:
    """Remove the folders that a dead attempt left on this machine."""
    for folder in Path(gettempdir()).glob(f"pointsman-{attempt}-*"):
        shutil.rmtree(folder, ignore_errors=True)
