"""The four errors of Pointsman, told apart by what to do about them.

Each takes facts and writes the sentence: what happened, why, and what the reader can do.
"""

__all__ = ["Permanent", "PointsmanError", "Refused", "Transient", "UnknownOutcome"]

FOREIGN_TEXT_LIMIT = 2_000


class PointsmanError(Exception):
    """Root of our errors; `what` is one short complete clause, `why` the cause, `do` the reader's next step.

    `step` is where it was raised, written by the step that it leaves: others may run beside that one.
    """

    def __init__(self, what: str, *, why: str = "", do: str = "") -> None:
        self.what, self.why, self.do = what.strip().rstrip("."), why.strip(), do.strip()
        self.step = ""
        super().__init__(what)

    def __str__(self) -> str:
        cause = f": {cut(self.why).rstrip('.')}" if self.why else ""
        return f"{self.what}{cause}.{' ' + self.do if self.do else ''}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.why, self.do)


class Refused(PointsmanError):
    """The input or the state forbids it; nothing was changed."""


class Permanent(PointsmanError):
    """It failed, and trying again unchanged is useless."""


class Transient(PointsmanError):
    """It failed for now and changed nothing; the task may try again."""


class UnknownOutcome(PointsmanError):
    """A side effect may or may not have happened: probe before anything else, never repeat blindly."""


def cut(text: str, limit: int = FOREIGN_TEXT_LIMIT) -> str:
    """Return foreign text shortened to `limit` characters, its end kept, since that is where tools put the cause."""
    return text if len(text) <= limit else "… " + text[-limit:]


def _rebuild(kind: type[PointsmanError], what: str, why: str, do: str) -> PointsmanError:
    return kind(what, why=why, do=do)
