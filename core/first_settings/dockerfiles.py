"""What a Dockerfile says of the image that it makes: which stage, port, user and command, and where files come to lie.

https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from core.dockerfile import instructions

__all__ = ["BuiltImage", "Stage", "built_image", "copied_names", "places", "stages_of"]

_FROM = re.compile(r"FROM\s+(?:--platform=(\S+)\s+)?(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?[^}]*\}|(\w+))")
_MOUNT = re.compile(r"--mount=type=(secret|ssh)(?:,\S*?\bid=([^,\s]+))?")
_URL = re.compile(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])(?::(\$?\{?\w+\}?))?(/[^\s\"'|&;)\\]*)?")
_PORT_OPTIONS = re.compile(r"(?:--port|--http-port|-p|--bind|-b|--listen)[ =](?:\S*:)?(\d{2,5})\b")
# https://docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope, and predefined ones
_PREDEFINED = re.compile(r"(TARGET|BUILD)(PLATFORM|OS|ARCH|VARIANT)|(HTTPS?|FTP|NO|ALL)_PROXY|SOURCE_DATE_EPOCH", re.I)


@dataclass(frozen=True)
class Stage:
    """One `FROM` and what follows it."""

    names: tuple[str, ...]
    """Its number, and its name if it has one, in lower case."""
    base: str
    platform: str | None
    lines: tuple[str, ...]

    @property
    def name(self) -> str | None:
        """The name that `--target` takes, if it has one."""
        return self.names[1] if len(self.names) > 1 else None


@dataclass(frozen=True)
class BuiltImage:
    """What a stage's image is, as far as the Dockerfile says it."""

    workdir: str = "/"
    variables: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    user: str | None = None
    command: str = ""
    """Entry point and command as one line."""
    healthcheck: str = ""
    arguments: tuple[str, ...] = ()
    """The `ARG`s without a default, of the stages that it is built with."""
    secrets: tuple[str, ...] = ()
    """The ids of `RUN --mount=type=secret`, of all stages."""
    ssh: tuple[str, ...] = ()
    platform: str | None = None

    @property
    def command_port(self) -> int | None:
        """The port that the command names."""
        found = _PORT_OPTIONS.search(_expanded(self.command, self.variables))
        return int(found.group(1)) if found else None

    @property
    def checked(self) -> tuple[int | None, str] | None:
        """The port and the path that `HEALTHCHECK` asks."""
        return url_in(_expanded(self.healthcheck, self.variables))


def url_in(text: str) -> tuple[int | None, str] | None:
    """Return port and path of the first address of the container itself in a command, or None."""
    found = _URL.search(text)
    if found is None or not (found.group(2) or "").strip("/"):
        return None
    port = found.group(1) or ""
    return (int(port) if port.isdigit() else None), found.group(2)


def stages_of(dockerfile: str) -> tuple[Stage, ...]:
    """Return the stages of a Dockerfile; what stands before the first is given to each as its first lines."""
    before: list[str] = []
    found: list[tuple[re.Match[str], list[str]]] = []
    for line in instructions(dockerfile):
        start = _FROM.match(line)
        if start:
            found.append((start, []))
        else:
            (found[-1][1] if found else before).append(line)
    return tuple(
        Stage(
            names=(str(number), *([start.group(3).lower()] if start.group(3) else [])),
            base=start.group(2),
            platform=start.group(1),
            lines=(*before, *lines),
        )
        for number, (start, lines) in enumerate(found)
    )


def built_image(dockerfile: str, target: str | None) -> BuiltImage:
    """Return what the image of a stage is; of the last stage if no target is named."""
    stages = stages_of(dockerfile)
    chain = list(_chain(stages, _stage(stages, target)))
    seen: dict[str, str] = {}
    arguments: list[str] = []
    workdir, user, entry, command, check = "/", None, "", "", ""
    ports: dict[int, None] = {}
    known: dict[str, str] = {}
    for stage in chain:
        for line in stage.lines:
            verb, rest = _split(line)
            if verb == "ENV":
                seen |= {name: _expanded(value, {**known, **seen}) for name, value in _assignments(rest)}
            elif verb == "ARG":
                name, has_default, value = rest.strip().partition("=")
                known |= {name: value.strip("\"'")} if has_default else {}
                arguments += [] if has_default or name in known or _PREDEFINED.fullmatch(name) else [name]
            elif verb == "WORKDIR":
                workdir = str(PurePosixPath(workdir) / _expanded(rest.strip().strip("\"'"), {**known, **seen}))
            elif verb == "USER":
                user = _expanded(rest.strip(), {**known, **seen})
            elif verb == "EXPOSE":
                exposed = (word.partition("/")[0] for word in _expanded(rest, {**known, **seen}).split())
                ports |= dict.fromkeys(int(port) for port in exposed if port.isdigit())
            elif verb == "ENTRYPOINT":
                entry, command = _as_line(rest), ""
            elif verb == "CMD":
                command = _as_line(rest)
            elif verb == "HEALTHCHECK":
                check = "" if rest.strip().upper() == "NONE" else rest
    mounts = [found for stage in stages for line in stage.lines for found in _MOUNT.findall(line)]
    return BuiltImage(
        workdir=workdir,
        variables=seen,
        ports=tuple(ports),
        user=user,
        command=f"{entry} {command}".strip(),
        healthcheck=check,
        arguments=tuple(dict.fromkeys(arguments)),
        secrets=tuple(dict.fromkeys(id for kind, id in mounts if kind == "secret" and id)),
        ssh=tuple(dict.fromkeys(id or "default" for kind, id in mounts if kind == "ssh")),
        platform=chain[-1].platform if chain else None,
    )


def places(dockerfile: str, target: str | None, path: str) -> tuple[str, ...]:
    """Return where a path of the build context lies in a stage's image, as far as its `COPY`s can be followed."""
    stages = stages_of(dockerfile)
    last = _stage(stages, target)
    return tuple(dict.fromkeys(_places(stages, last, path, len(stages)))) if last else ()


def copied_names(dockerfile: str) -> tuple[str, ...]:
    """Return what the Dockerfile copies out of its context, without patterns and the context as a whole."""
    sources = (
        s for stage in stages_of(dockerfile) for line in stage.lines for s in _copy(line)[1] if not _copy(line)[0]
    )
    named = (source.strip("/").removeprefix("./") for source in sources)
    return tuple(dict.fromkeys(name for name in named if name not in ("", ".") and not set(name) & set("*?[$")))


def _places(stages: tuple[Stage, ...], stage: Stage, path: str, depth: int) -> Iterator[str]:
    if depth < 0:
        return
    workdir = "/"
    for ancestor in _chain(stages, stage):
        for line in ancestor.lines:
            verb, rest = _split(line)
            if verb == "WORKDIR":
                workdir = str(PurePosixPath(workdir) / rest.strip().strip("\"'"))
            origin, sources, destination = _copy(line)
            if not sources:
                continue
            whole = str(PurePosixPath(workdir) / destination)
            other = _named(stages, origin)
            if origin and other is None:
                continue
            starts = list(_places(stages, other, path, depth - 1)) if other else [f"/{path}"]
            for start in starts:
                for source in sources:
                    inner = _inside(start, str(PurePosixPath("/") / source.removeprefix("./")))
                    # A file is copied under its own name into what is a folder.
                    into = destination.endswith(("/", ".")) or len(sources) > 1
                    if inner == "." and into and PurePosixPath(path).suffix:
                        inner = PurePosixPath(start).name
                    if inner is not None:
                        yield str(PurePosixPath(whole) / inner)


def _inside(path: str, folder: str) -> str | None:
    """Return a path from a folder that holds it; None if that does not."""
    if any(mark in folder for mark in "*?["):
        parts = PurePosixPath(path).parts
        count = len(PurePosixPath(folder).parts)
        head, rest = "/" + "/".join(parts[1:count]), parts[count:]
        # What a pattern matches is copied by its own name, but a folder's contents without it.
        return "/".join(rest) or "." if len(parts) >= count and fnmatchcase(head, folder) else None
    given = PurePosixPath(path)
    return str(given.relative_to(folder)) if given.is_relative_to(folder) else None


def _copy(line: str) -> tuple[str, list[str], str]:
    """Return the stage, the sources and the destination of a `COPY`; no sources for another instruction."""
    verb, rest = _split(line)
    if verb not in ("COPY", "ADD"):
        return "", [], ""
    words = _json_words(rest) or rest.split()
    options = [word for word in words if word.startswith("--")]
    names = [word.strip("\"'") for word in words if not word.startswith("--")]
    if len(words) > len(options) and options and rest.strip().endswith("]"):
        names = _json_words(rest[rest.index("[") :]) or names
    origin = next((option.partition("=")[2] for option in options if option.startswith("--from=")), "")
    named = [name for name in names[:-1] if "://" not in name and not name.startswith("<<")]
    return origin.lower(), named, names[-1] if names else ""


def _stage(stages: tuple[Stage, ...], target: str | None) -> Stage | None:
    if not stages:
        return None
    return next((stage for stage in stages if target and target.lower() in stage.names), stages[-1])


def _named(stages: tuple[Stage, ...], name: str) -> Stage | None:
    return next((stage for stage in stages if name and name.lower() in stage.names), None)


def _chain(stages: tuple[Stage, ...], stage: Stage | None) -> Iterator[Stage]:
    """Give the stages that a stage is built upon, the lowest first, and itself."""
    chain: list[Stage] = []
    while stage is not None and stage not in chain:
        chain.append(stage)
        earlier = stages[: stages.index(stage)]
        stage = _named(earlier, stage.base)
    return reversed(chain)


def _split(line: str) -> tuple[str, str]:
    verb, _, rest = line.partition(" ")
    return verb.upper(), rest.strip()


def _assignments(rest: str) -> list[tuple[str, str]]:
    try:
        words = shlex.split(rest)
    except ValueError:
        words = rest.split()
    if words and "=" not in words[0]:
        return [(words[0], " ".join(words[1:]))]
    return [(name, value) for name, mark, value in (word.partition("=") for word in words) if mark]


def _as_line(rest: str) -> str:
    return " ".join(_json_words(rest) or [rest.strip()])


def _json_words(rest: str) -> list[str] | None:
    try:
        words = json.loads(rest)
    except ValueError:
        return None
    return [str(word) for word in words] if isinstance(words, list) else None


def _expanded(text: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: known.get(found.group(1) or found.group(3), found.group(2) or ""), text)
