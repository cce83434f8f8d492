"""The four errors of Pointsman, distinguished by what to do about them.

Each takes facts and writes the message: what happened, why, and what the reader can do.
"""

import re

__all__ = ["Permanent", "PointsmanError", "Refused", "Transient", "UnknownOutcome", "cut", "redact"]

FOREIGN_TEXT_LIMIT = 2_000

_CONTEXT = 8_000
_HIDDEN = "***"

# What is hidden in foreign text, and what of it is kept. Too much hidden is harmless, too little is a leak. Whatever is
# tried at many places has a bound, so that no text takes long.
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), kept)
    for pattern, kept in (
        # Node says this of a URL that it can't read, which is when a password in it is wrongly written.
        (r"(\binput: )'[^'\n]*'", r"\1'***'"),
        # The user of a URL is kept. A password with a slash, an @ or a blank in it is hidden as well; a port is none.
        (r"(://[^\s:/?#@'\"]{0,200}:)(?!\d+(?:[/?#\s'\"]|$))[^\s'\"]{0,500}@", r"\1***@"),
        (r"(://[^\s:/?#@'\"]{0,200}:)(?!\s|\d+(?:[/?#\s'\"]|$))[^\n'\"@]{1,100}@", r"\1***@"),
        (r"\b(gh[pousr]_|github_pat_|glpat-|xox[abposr]-|[sr]k_live_)[\w-]{8,}", r"\1***"),
        (r"\beyJ\w[\w-]{7,2000}\.eyJ[\w-]{8,4000}\.[\w-]*", _HIDDEN),
        (r"(?i)(\bauthorization\b[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|token)?\s*)[^\s\"',;]+", r"\1***"),
        (r"(?i)((?<![\w-])--[\w-]{0,50}(?:password|secret|token|key)\s+)(?!-)[^\s]+", r"\1***"),
        (r"(?i)(\bbearer\s+)[\w.~+/=-]{8,}", r"\1***"),
        (r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?(?:-----END \1-----|\Z)", _HIDDEN),
        *(
            (rf"(?i)((?:passw(?:or)?d|pwd|secret|token|api_?key|access_?key){separator}){value}", r"\1***")
            for separator, value in (
                (r"[\"']?\s*[=:]\s*", r"\"[^\"\n]*\""),
                (r"[\"']?\s*[=:]\s*", r"'[^'\n]*'"),
                (r"=", r"(?!\*\*\*)[^\s&,;\"')]+"),
            )
        ),
    )
)


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
        return f"{redact(self.what)}{cause}.{' ' + self.do if self.do else ''}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.why, self.do, self.step)


class Refused(PointsmanError):
    """The input or the state forbids it; nothing was changed."""


class Permanent(PointsmanError):
    """It failed, and trying again unchanged is useless."""


class Transient(PointsmanError):
    """It failed for now and changed nothing; the task may try again."""


class UnknownOutcome(PointsmanError):
    """A side effect may or may not have happened: probe before anything else, never repeat blindly."""


def cut(text: str, limit: int = FOREIGN_TEXT_LIMIT) -> str:
    """Return foreign text without its secrets and shortened to `limit` characters.

    Its end is kept, since that is where tools put the cause.
    """
    # A bound on the work; a secret that this cuts in two lies before what is kept.
    shown = redact(text[-(limit + _CONTEXT) :])
    return shown if len(shown) <= limit and len(text) <= limit + _CONTEXT else "… " + shown[-limit:]


def redact(text: str) -> str:
    """Return foreign text with everything hidden that looks like a password, a token or a key."""
    for pattern, kept in _SECRETS:
        text = pattern.sub(kept, text)
    return text


def _rebuild(kind: type[PointsmanError], what: str, why: str, do: str, step: str) -> PointsmanError:
    error = kind(what, why=why, do=do)
    error.step = step
    return error
