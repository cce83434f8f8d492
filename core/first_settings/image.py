"""Which of a repository's Dockerfiles is built, from which context, and up to which stage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.errors import Refused
from core.first_settings.compose import Composed, composed
from core.first_settings.dockerfiles import BuiltImage, built_image, copied_names, stages_of
from core.first_settings.facts import Asked, Guess, Repository, below, is_aside, joined

__all__ = ["DOCKERFILES", "ChosenImage", "choose_image"]

DOCKERFILES = ("Dockerfile", "Dockerfile.*", "*.Dockerfile", "Containerfile")

_OTHER_USE = re.compile(r"dev|test|debug|ci|local|base|builder|lint|e2e|playwright|storybook|docs", re.IGNORECASE)
_DEVELOPMENT = re.compile(
    r"^(dev|development|test|tests|testing|debug|ci|lint|e2e|local)(\b|[-_])|(\b|[-_])(dev|test)$"
)
_PRODUCTION = re.compile(r"^(prod|production|runner|release|runtime|final|app|server|run|deploy)$")
_DATABASE = ("*.prisma", "alembic.ini", "drizzle.config.*", "manage.py")
_WORKSPACE = ("pnpm-workspace.yaml", "turbo.json", "nx.json", "lerna.json", "go.work")


@dataclass(frozen=True)
class ChosenImage:
    """What is built: the settings of `[image]`, and what the image is then."""

    dockerfile: Guess[str]
    context: Guess[str]
    target: Guess[str] | None
    built: BuiltImage
    text: str
    compose: Composed | None
    others: tuple[str, ...]
    """The repository's other Dockerfiles of applications."""

    @property
    def folder(self) -> str:
        """The application's folder, from the root; empty for the root itself."""
        folder = str(PurePosixPath(self.dockerfile.value).parent)
        folder = re.sub(r"(^|/)(docker|\.docker|build|deploy|deployment)$", "", folder)
        if folder in (".", "") and self.compose and self.compose.context != ".":
            return self.compose.context
        return "" if folder == "." else folder

    @property
    def other_folders(self) -> tuple[str, ...]:
        """The folders of other applications."""
        folders = (str(PurePosixPath(path).parent) for path in self.others)
        return tuple(folder for folder in folders if folder != "." and folder != self.folder)

    def in_context(self, path: str) -> str | None:
        """Return a path of the repository as the build sees it; None for one outside its context."""
        context = self.context.value
        if context == ".":
            return path
        return path.removeprefix(f"{context}/") if below(path, context) else None


def choose_image(repository: Repository, asked: Asked) -> ChosenImage:
    """Return what is built; raise `Refused` where there is no Dockerfile, or not the one that was asked for."""
    found = sorted(
        (p for p in repository.named(*DOCKERFILES, folder=repository.folder) if not p.endswith(".dockerignore")),
        key=lambda path: _rank(repository, path),
    )
    path = asked.dockerfile or (found[0] if found else None)
    where = repository.folder or repository.name
    if path is None:
        aside = next((p for p in repository.paths if PurePosixPath(p).name == "Dockerfile" and is_aside(p)), None)
        raise Refused(
            f"No Dockerfile was found in {where}",
            why="a release builds the application's image from one" + (f"; {aside} is an example's" if aside else ""),
            do="Add one as docs/production.md says under The Dockerfile, or name another folder with --checkout.",
        )
    if path not in repository.texts:
        raise Refused(
            f"The Dockerfile {path} was not found in {where}",
            why=f"it has {', '.join(found[:10]) or 'none'}",
            do="Name one of them with --dockerfile, from the repository's root.",
        )
    text = repository.texts[path]
    if not stages_of(text):
        raise Refused(f"{path} has no FROM", why="it is not a Dockerfile that can be built", do="Fix it.")
    compose = composed(repository, path)
    target = _target(text, asked, compose)
    return ChosenImage(
        dockerfile=Guess(path, _why(path, found, asked)),
        context=_context(repository, path, text, compose),
        target=target,
        built=built_image(text, target.value if target else None),
        text=text,
        compose=compose,
        others=tuple(other for other in found if other != path),
    )


def _rank(repository: Repository, path: str) -> tuple[object, ...]:
    """What goes before: not for development, of the root, with a database, nearest to the root."""
    name = PurePosixPath(path)
    folder = str(name.parent)
    suffix = name.name.removeprefix("Dockerfile").removesuffix("Dockerfile").strip(".")
    has_database = folder != "." and next(repository.named(*_DATABASE, folder=folder), None) is not None
    return bool(_OTHER_USE.search(suffix)), bool(suffix), folder != ".", not has_database, path.count("/"), path


def _why(path: str, found: list[str], asked: Asked) -> str:
    others = [other for other in found if other != path]
    if asked.dockerfile:
        return "as asked for"
    if not others:
        return "the only Dockerfile"
    return f"one of {len(found)} Dockerfiles; another one is chosen with --dockerfile: {', '.join(others[:5])}"


def _context(repository: Repository, path: str, text: str, compose: Composed | None) -> Guess[str]:
    folder = str(PurePosixPath(path).parent)
    if compose:
        return Guess(compose.context, f"the build of {compose.service} in {compose.path}")
    if folder == ".":
        return Guess(".", "the Dockerfile's folder")
    names = copied_names(text)

    def missing(context: str) -> int:
        return sum(not any(below(known, joined(context, name)) for known in repository.paths) for name in names)

    from_root, from_folder = missing("."), missing(folder)
    if from_root != from_folder:
        context = "." if from_root < from_folder else folder
        return Guess(context, f"what {path} copies lies there")
    if any(name in repository.paths for name in _WORKSPACE):
        return Guess(".", "the repository is a workspace")
    return Guess(folder, "the Dockerfile's folder")


def _target(text: str, asked: Asked, compose: Composed | None) -> Guess[str] | None:
    stages = stages_of(text)
    names = [stage.name for stage in stages if stage.name]
    if asked.target:
        if asked.target.lower() not in names:
            raise Refused(
                f"The Dockerfile has no stage {asked.target}",
                why=f"it has {', '.join(names) or 'none with a name'}",
                do="Name one of them with --target.",
            )
        return Guess(asked.target, "as asked for")
    if compose and compose.target and compose.target.lower() in names and not _DEVELOPMENT.search(compose.target):
        return Guess(compose.target, f"the build of {compose.service} in {compose.path}")
    last = stages[-1].name
    if last and _DEVELOPMENT.search(last):
        better = [name for name in names if _PRODUCTION.search(name)]
        if better:
            return Guess(better[-1], f"a stage of the Dockerfile, whose last one, {last}, is for development")
    return None
