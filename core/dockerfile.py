"""Which images a Dockerfile builds upon, and which of them may be another one tomorrow.

https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from core.errors import Refused
from core.settings import Image

__all__ = [
    "base_images",
    "instructions",
    "mounted_ids",
    "refuse_missing_mounts",
    "refuse_unpinned",
    "runs_on_target",
    "unpinned",
]

_ESCAPE = re.compile(r"^#\s*escape\s*=\s*`\s*$", re.IGNORECASE)
_SYNTAX = re.compile(r"^#\s*syntax\s*=\s*(\S+)", re.IGNORECASE)
_FROM = re.compile(r"^FROM\s+(?:--platform=\S+\s+)?(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_ARG = re.compile(r"^ARG\s+(.*)$", re.IGNORECASE)
_COPY_FROM = re.compile(r"^(?:COPY|ADD)\s(?:.*\s)?--from=(\S+)", re.IGNORECASE)
_MOUNT_FROM = re.compile(r"--mount=\S*\bfrom=([^,\s]+)", re.IGNORECASE)
_MOUNT = re.compile(r"(?<=\s)--mount=(\S+)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?([-+])([^}]*))?\}|(\w+))")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def refuse_unpinned(dockerfile: str, image: Image) -> tuple[str, ...]:
    """Return the images that a build uses by a tag; raise `Refused` where digests are required of them."""
    loose = unpinned(dockerfile, image.build_args)
    if loose and image.require_digests:
        raise Refused(
            f"{image.dockerfile} builds on {', '.join(loose)}",
            why="a tag may mean another image tomorrow, and image.require_digests asks for a digest",
            do="Name it as name:tag@sha256:…, in the Dockerfile or in image.build_args.",
        )
    return loose


def unpinned(dockerfile: str, build_args: Mapping[str, str]) -> tuple[str, ...]:
    """Return the images, each once, that a Dockerfile names by a tag, which may mean another image tomorrow."""
    named = dict.fromkeys([*_frontends(dockerfile), *base_images(dockerfile, build_args)])
    return tuple(image for image in named if not _DIGEST.search(image))


def base_images(dockerfile: str, build_args: Mapping[str, str]) -> tuple[str, ...]:
    """Return the images that a Dockerfile takes from elsewhere, in its order: none of its stages, and not `scratch`.

    Of the `ARG`s only those before the first `FROM` count, as in Docker. What a variable without a value leaves empty
    is left out: no build gets that far.
    """
    stages: set[str] = {"scratch"}
    arguments: dict[str, str] = {}
    found: list[str] = []
    number = 0
    for line in instructions(dockerfile):
        if number == 0 and (declared := _ARG.match(line)):
            arguments |= _declared(declared.group(1), {**arguments}, build_args)
        elif taken := _FROM.match(line):
            image = _expanded(taken.group(1), arguments)
            if image.lower() not in stages:
                found.append(image)
            stages |= {str(number), (taken.group(2) or str(number)).lower()}
            number += 1
        else:
            named = [*_COPY_FROM.findall(line), *(_MOUNT_FROM.findall(line) if line[:4].upper() == "RUN " else [])]
            # Docker takes no variables there.
            found += [name.strip("\"'") for name in named if name.strip("\"'").lower() not in stages]
    return tuple(image for image in found if image)


def refuse_missing_mounts(dockerfile: str, image: Image) -> tuple[str, ...]:
    """Return where mounts and settings do not meet, to be warned of; raise `Refused` where a step requires a mount.

    A mount that is not `required` is simply empty where nothing is given for it.
    https://docs.docker.com/reference/dockerfile/#run---mounttypesecret
    """
    said: list[str] = []
    for kind, given in (("secret", image.secrets.keys()), ("ssh", image.ssh.keys())):
        setting = f"[image.{kind}s]" if kind == "secret" else "[image.ssh]"
        mounted = mounted_ids(dockerfile, kind)
        missing = sorted(id for id, required in mounted.items() if required and id not in given)
        if missing and image.target is None:  # of several targets, the step may be another's
            raise Refused(
                f"{image.dockerfile} needs the {kind} mount {', '.join(missing)}",
                why=f"a RUN step requires it, and {setting} has no such id",
                do=f"Name it in {setting}: docs/production.md says how.",
            )
        said += [
            f"{image.dockerfile} mounts the {kind} {id}, which {setting} lacks" for id in mounted if id not in given
        ]
        said += [
            f"{setting} names {id}, which no RUN step of {image.dockerfile} mounts" for id in sorted(given - mounted)
        ]
    return tuple(said)


def runs_on_target(dockerfile: str) -> bool:
    """Whether a step runs programs of the platform that the image is for: a RUN in a stage that names no other.

    A stage `FROM --platform=$BUILDPLATFORM` runs on the engine's own, as cross-compiling Dockerfiles do.
    https://docs.docker.com/build/building/multi-platform/#cross-compilation
    """
    elsewhere: dict[str, bool] = {}
    current = False
    for line in instructions(dockerfile):
        if taken := _FROM.match(line):
            own = re.match(r"^FROM\s+--platform=(\S+)", line, re.IGNORECASE)
            current = "BUILDPLATFORM" in own.group(1) if own else elsewhere.get(taken.group(1).lower(), False)
            elsewhere[(taken.group(2) or str(len(elsewhere))).lower()] = current
        elif line[:4].upper() == "RUN " and not current:
            return True
    return False


def mounted_ids(dockerfile: str, kind: str) -> dict[str, bool]:
    """Return the ids of a Dockerfile's mounts of that type, `secret` or `ssh`, and whether a step requires each."""
    mounted: dict[str, bool] = {}
    for line in instructions(dockerfile):
        if line[:4].upper() != "RUN ":
            continue
        for text in _MOUNT.findall(line):
            options = dict(_option(part) for part in text.split(","))
            if options.get("type") != kind:
                continue
            target = options.get("target") or options.get("dst") or options.get("destination") or ""
            id = options.get("id") or ("default" if kind == "ssh" else target.rpartition("/")[2])
            mounted[id] = mounted.get(id, False) or options.get("required", "false").lower() in ("true", "1")
    return mounted


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    return name.lower(), value.strip("\"'") if equals else "true"


def _frontends(dockerfile: str) -> list[str]:
    """The image that interprets the Dockerfile, if its first lines name one."""
    for line in dockerfile.splitlines():
        if not line.startswith("#"):
            break
        if found := _SYNTAX.match(line):
            return [found.group(1)]
    return []


def instructions(dockerfile: str) -> Iterator[str]:
    """Give each instruction on one line, without comments."""
    lines = dockerfile.splitlines()
    mark = "`" if any(_ESCAPE.match(line) for line in lines[:2]) else "\\"
    whole = ""
    for line in lines:
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.endswith(mark):
            whole += stripped[:-1] + " "
            continue
        yield whole + stripped
        whole = ""
    if whole:
        yield whole


def _declared(text: str, known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    declared: dict[str, str] = {}
    for word in text.split():
        name, _, default = word.partition("=")
        value = given.get(name, _expanded(default.strip("\"'"), {**known, **declared}))
        declared[name] = value
    return declared


def _expanded(text: str, arguments: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name, kind, word, plain = found.groups()
        known = arguments.get(name or plain, "")
        if kind == "-":
            return known or str(word)
        return str(word) if kind == "+" and known else "" if kind == "+" else known

    return _VARIABLE.sub(value, text.strip("\"'"))
