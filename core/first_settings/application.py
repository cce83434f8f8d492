"""What is known of an application by its repository, each thing read once."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from core.first_settings.compose import Composed
from core.first_settings.dockerfiles import places
from core.first_settings.facts import Asked, Guess, Repository
from core.first_settings.image import choose_image
from core.first_settings.migrations import migrations_of
from core.first_settings.origin import (
    Sibling,
    github_name,
    region_and_account,
    sibling_of,
    slug,
)
from core.first_settings.routes import mentions, routes_in, sources
from core.first_settings.variables import EXAMPLES, Variables, assignments, is_of_a_store, sorted_out
from core.settings import FILL_IN

__all__ = ["Application", "Names"]

_NAMES = 32 - len("--green")  # what a target group's name leaves for name and stage
_NAMESPACE = 20  # the longest name of a role has 64 characters
_BUCKET = 63
_SCRIPT = re.compile(r"(?:npm|pnpm|yarn|bun)\s+(?:run\s+)?(?:--\S+\s+)*([\w:.-]+)")


class Application:
    """What is known of the application, each thing read once."""

    def __init__(self, repository: Repository, asked: Asked) -> None:
        self.repository, self.asked = repository, asked
        self.image = choose_image(repository, asked)
        self.folder = self.image.folder
        self.files = self._sources()
        self.migrations = migrations_of(repository, self.folder, self.image.other_folders)
        self.routes = routes_in(self.files)
        self.known = self._variables()
        self.github = github_name(repository.origin) if repository.origin else None
        self.sibling = self._sibling()
        self.names = Names(self)

    @property
    def compose(self) -> Composed | None:
        """The service of a compose file that is built from the same Dockerfile."""
        return self.image.compose

    @property
    def command(self) -> str:
        """The image's command, with the script of package.json that it names."""
        command = self.image.built.command
        named = _SCRIPT.search(command)
        package = self.repository.nearest("package.json", folder=self.folder)
        text = self.repository.texts.get(package or "", "")
        script = re.search(rf'"{re.escape(named.group(1))}"\s*:\s*"([^"]*)"', text) if named else None
        scripts = [p for p in self.repository.texts if p.endswith(".sh") and PurePosixPath(p).name in command]
        return " ".join([command, script.group(1) if script else "", *(self.repository.texts[p] for p in scripts)])

    def _sources(self) -> dict[str, str]:
        found = dict(sources(self.repository, self.folder, self.image.other_folders))
        return found or dict(sources(self.repository, "", self.image.other_folders))

    def _variables(self) -> Variables:
        given = {
            path: assignments(self.repository.texts[path]) for path in self.examples() if path in self.repository.texts
        }
        hosts: frozenset[str] = frozenset()
        if self.compose:
            given[self.compose.path] = dict(self.compose.variables)
            hosts = self.compose.hosts
        names = {name for values in given.values() for name in values}
        return sorted_out(
            given, hosts, frozenset(name for name in names if is_of_a_store(name) and mentions(self.files, name))
        )

    @property
    def secrets(self) -> dict[str, str]:
        """The names of its secrets, those first that hold the database's address, and where each is named."""
        tool = self.migrations
        addresses = {name: self._named(name, tool.why) for name in (tool.url_variable, *tool.secrets)} if tool else {}
        return {**addresses, **{name: guess.why for name, guess in self.known.secrets.items()}}

    def _named(self, variable: str, why: str) -> str:
        named = any(variable in text for text in self.repository.texts.values())
        return why if named else f"assumed, for no file names another; {why}"

    @property
    def tells_version(self) -> bool:
        """Whether a route seems to answer the version that a release gives."""
        return self.routes.version is not None and mentions(self.files, "POINTSMAN_VERSION")

    def in_image(self, path: str) -> str | None:
        """Return where a path of the repository is, from the image's working directory; None if no `COPY` says it."""
        inside = self.image.in_context(path)
        if inside is None:
            return None
        target = self.image.target.value if self.image.target else None
        workdir = PurePosixPath(self.image.built.workdir)
        found = [PurePosixPath(place) for place in places(self.image.text, target, inside)]
        near = [str(place.relative_to(workdir)) for place in found if place.is_relative_to(workdir)]
        return near[0] if near else (str(found[0]) if found else None)

    def examples(self) -> list[str]:
        """The files of the kind of `.env.example`, those of the application's folder first."""
        of_folder = list(self.repository.named(*EXAMPLES, folder=self.folder))
        at_root = [path for path in self.repository.named(*EXAMPLES) if "/" not in path]
        return list(dict.fromkeys([*of_folder, *at_root]))

    def _sibling(self) -> Sibling | None:
        if self.github is None:
            return None
        others = {stage: text for stage, text in self.repository.environments.items() if stage != self.asked.stage}
        return sibling_of(others, self.github[1], self.image.dockerfile.value)


class Names:
    """The account, the region and the names that everything is found by."""

    def __init__(self, application: Application) -> None:
        asked, sibling, stage = application.asked, application.sibling, application.asked.stage
        region, account = region_and_account(application.repository)
        self.region = _first(asked.region, sibling, "region", region) or Guess(
            f"{FILL_IN}-REGION", "the AWS region, such as eu-central-1"
        )
        self.account = _first(asked.account, sibling, "aws_account_number", account) or Guess(
            f"{FILL_IN}-ACCOUNT",
            "the account's twelve digits, here and wherever the file says it: `aws sts get-caller-identity`",
        )
        owner = application.github[1].partition("/")[0] if application.github else ""
        of_owner = slug(owner, _NAMESPACE)
        self.namespace = _first(
            asked.namespace, sibling, "namespace", Guess(of_owner, "the repository's owner") if of_owner else None
        ) or Guess(f"{FILL_IN}-NAMESPACE", "who owns the application: the first part of every shared name")
        self.name = _first(None, sibling, "name", _name(application, _NAMES - len(stage))) or Guess(
            f"{FILL_IN}-NAME", "the application's name: lower case, digits and hyphens"
        )
        rest = f"-{self.name.value}-state-{self.account.value}"
        # Buckets have one name in all of AWS, so the account is part of it.
        bucket = Guess(
            f"{self.namespace.value[: _BUCKET - len(rest)]}{rest}", "chosen; `provision` makes it if it is missing"
        )
        self.bucket = _first(None, sibling, "state_bucket", bucket) or bucket

    @property
    def secret(self) -> str:
        """The secret that the application's secrets are keys of."""
        return f"{self.namespace.value}/{self.name.value}"


def _first(given: str | None, sibling: Sibling | None, key: str, guess: Guess[str] | None) -> Guess[str] | None:
    if given is not None:
        return Guess(given, "as asked for")
    if sibling and (value := sibling.text(key)):
        return Guess(value, f"environments/{sibling.stage}.toml, another stage of this application")
    return guess


def _name(application: Application, limit: int) -> Guess[str] | None:
    repository = application.repository
    base = application.github[1].partition("/")[2] if application.github else repository.name
    why = "the repository's name" if application.github else "the folder's name"
    if application.image.other_folders and application.folder:
        folder = PurePosixPath(application.folder).name
        # The folder tells two applications of one repository apart, so it is what is kept.
        base, why = f"{base[: max(limit - len(folder) - 1, 0)]}-{folder}", f"{why} and the application's folder"
    name = slug(base, limit)
    return Guess(name, why if name == base else f"{why}, shortened to what names in AWS allow") if name else None
