"""Routes that tell of an application's health or version, found by their text in its source, and its port there.

A text is found, not a program understood: what a router puts in front of a route is known only where it says so in the
same file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.first_settings.facts import Guess, Repository, below, is_aside

__all__ = ["SOURCES", "Routes", "listening_port", "mentions", "routes_in", "sources"]

SOURCES = frozenset({".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx", ".py", ".go", ".rb"})

_SHALLOW = (
    *(
        "healthz",
        "livez",
        "health/live",
        "health/liveness",
        "live",
        "liveness",
        "health",
        "healthcheck",
        "health-check",
    ),
    *("health_check", "_health", "up", "ping"),
)
_DEEP = ("readyz", "health/ready", "health/readiness", "ready", "readiness")
_NAMES = (*_SHALLOW, *_DEEP, "version")
_ANY = "|".join(re.escape(name) for name in sorted(_NAMES, key=len, reverse=True))
_LITERAL = re.compile(rf"""["'`](/(?:[\w-]+/){{0,3}}?(?:{_ANY})/?)["'`]""")
_RAILS = re.compile(rf"""^\s*get\s*\(?\s*["']((?:[\w-]+/){{0,3}}?(?:{_ANY}))["']""", re.MULTILINE)
_DJANGO = re.compile(rf"""\bpath\(\s*["']((?:[\w-]+/){{0,3}}?(?:{_ANY})/?)["']""")
_NEST = re.compile(rf"""@Controller\(\s*["']/?((?:[\w-]+/){{0,3}}?(?:{_ANY}))["']""")
_NEST_PREFIX = re.compile(r"""setGlobalPrefix\(\s*["']/?([\w/-]+)["']""")
_ROUTER_PREFIX = re.compile(r"""\b(?:APIRouter|Blueprint)\([^)]*\b(?:url_)?prefix\s*=\s*["'](/[\w/-]+)["']""")
_NEXT = re.compile(
    rf"""(?:^|/)(?:app/((?:[\w()@-]+/){{0,4}}?(?:{_ANY}))/route|pages/((?:[\w-]+/){{0,4}}?(?:{_ANY})))\.[jt]sx?$"""
)
_ASKED = re.compile(r"\b(?:fetch|axios|requests\.\w+|httpx\.\w+|http\.Get|got|supertest|client\.\w+)\s*\(")
_LISTENING = re.compile(
    r"\.listen\(\s*(\d{2,5})\b"
    r"|\bPORT\b[\"'\])]*\s*(?:\?\?|\|\||,)\s*[\"']?(\d{2,5})\b"
    r"|\blisten\(\s*\{[^}]*\bport:\s*(\d{2,5})\b"
    r"|ListenAndServe\(\s*\"[^\":]*:(\d{2,5})\""
    r"|\b(?:uvicorn\.run|app\.run)\([^)]*\bport\s*=\s*(\d{2,5})\b"
)


@dataclass(frozen=True)
class Routes:
    """What an application answers under, and the file that each was found in."""

    shallow: Guess[str] | None = None
    deep: Guess[str] | None = None
    version: Guess[str] | None = None


def sources(repository: Repository, folder: str, others: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Give path and text of an application's source: of its folder, or of all but the folders of others."""
    for path, text in repository.texts.items():
        pure = PurePosixPath(path)
        ours = below(path, folder) and not any(other and below(path, other) for other in others if other != folder)
        if pure.suffix in SOURCES and ours and not is_aside(path, folder) and not _is_test(pure.name):
            yield path, text


def routes_in(files: Mapping[str, str]) -> Routes:
    """Return the routes that tell of health and version in an application's source files."""
    prefix = next((f"/{match.group(1)}" for text in files.values() if (match := _NEST_PREFIX.search(text))), "")
    found: dict[str, str] = {}
    for path, text in files.items():
        for route in _routes(path, text, prefix):
            found.setdefault(route, path)

    def first(names: tuple[str, ...]) -> Guess[str] | None:
        for name in names:
            fitting = sorted((r for r in found if r.strip("/") == name or r.rstrip("/").endswith(f"/{name}")), key=len)
            if fitting:
                return Guess(fitting[0], f"a route in {found[fitting[0]]}")
        return None

    return Routes(first(_SHALLOW), first(_DEEP), first(("version",)))


def listening_port(files: Mapping[str, str]) -> Guess[int] | None:
    """Return the port that the source listens on, if it says one only."""
    found: dict[int, str] = {}
    for path, text in files.items():
        for match in _LISTENING.finditer(text):
            port = int(next(group for group in match.groups() if group))
            found.setdefault(port, path)
    port, path = next(iter(found.items()), (0, ""))
    return Guess(port, f"the port in {path}") if len(found) == 1 else None


def mentions(files: Mapping[str, str], word: str) -> bool:
    """Whether a source file has a word in it."""
    return any(re.search(rf"\b{re.escape(word)}\b", text) for text in files.values())


def _routes(path: str, text: str, prefix: str) -> Iterator[str]:
    if next_route := _NEXT.search(path):
        parts = (next_route.group(1) or next_route.group(2)).split("/")
        yield "/" + "/".join(part for part in parts if not part.startswith(("(", "@")))  # groups are no part of a route
    router = _ROUTER_PREFIX.findall(text)
    before = router[0] if len(router) == 1 else ""
    for match in _LITERAL.finditer(text):
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        if not _ASKED.search(line) and not line.lstrip().startswith(("//", "#", "*", "import ", "from ")):
            yield before + match.group(1)
    if path.endswith(".rb"):
        yield from (f"/{route}" for route in _RAILS.findall(text))
    if path.endswith(".py"):
        yield from (f"/{route}" for route in _DJANGO.findall(text))
    yield from (f"{prefix}/{route}" for route in _NEST.findall(text))


def _is_test(name: str) -> bool:
    return bool(
        re.search(r"(\.(test|spec|e2e|stories|config)\.\w+$)|(^test_)|(_(test|spec)\.\w+$)|(^conftest\.py$)", name)
    )
