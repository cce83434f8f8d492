"""What an environment's first file says, decided from what its application's repository holds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from core.first_settings.application import Application
from core.first_settings.document import FirstSettings
from core.first_settings.facts import Asked, Repository
from core.first_settings.sections import SECTIONS
from core.first_settings.variables import looks_secret

__all__ = ["first_settings"]

_MIGRATES = re.compile(
    r"prisma\s+(migrate\s+deploy|db\s+push)|alembic\s+upgrade|db:migrate|manage\.py\s+migrate|drizzle-kit\s+(migrate|push)"
)


def first_settings(repository: Repository, asked: Asked) -> FirstSettings:
    """Return an environment's first file; raise `Refused` where the repository has nothing to build an image from.

    What is read is written with a comment that says where; what no file says has a mark that `parse_settings` refuses.
    """
    app = Application(repository, asked)
    return FirstSettings(
        stage=asked.stage,
        settings=tuple(setting for section in SECTIONS for setting in section(app)),
        notes=tuple(_notes(app)),
        next_steps=tuple(_next_steps(app)),
    )


def _notes(app: Application) -> Iterator[str]:
    built, found = app.image.built, app.migrations
    if found:
        yield from found.notes
        if (
            found.engine in ("prisma", "drizzle")
            and "enabled" not in found.settings
            and app.in_image(found.directory or "") is None
        ):
            yield (
                f"it could not be followed where the image holds {found.directory}: it must hold it, and where that is "
                "elsewhere from its working directory, migration.image_directory says so"
            )
    if _MIGRATES.search(app.command):
        yield "the image's command migrates, so each task would at its start: take that out, a release does it before"
    if built.user is None:
        yield "the Dockerfile has no USER: the container runs as its base image does, which for most is root"
    if not built.command:
        yield "the Dockerfile has no CMD and no ENTRYPOINT: its base image's is what runs"
    if app.routes.version and not app.tells_version:
        yield (
            f"{app.routes.version.value} ({app.routes.version.why}) becomes a proof of each release as "
            "traffic.version_path, once it answers version and revision from POINTSMAN_VERSION and POINTSMAN_REVISION"
        )
    if app.compose and app.compose.stores:
        stores = ", ".join(f"{name} ({kind})" for name, kind in app.compose.stores.items())
        yield (
            f"{app.compose.path} runs {stores} beside the application: in AWS each must exist, and docs/database.md "
            "makes a Postgres"
        )
    for name, reason in app.known.left_out.items():
        yield f"{name} is left out: {reason}"
    given = app.compose.arguments if app.compose else {}
    for name in built.arguments:
        if looks_secret(name):
            yield f"ARG {name} would stay readable in the image: use RUN --mount=type=secret and image.secrets"
        elif not given.get(name) or "$" in given[name]:
            yield f"ARG {name} has no default: set it in image.build_args if the build needs it"


def _next_steps(app: Application) -> Iterator[str]:
    stage = app.asked.stage
    keys = list(app.secrets)
    if keys:
        yield (
            f"Make the secret {app.names.secret}/{stage} in Secrets Manager, a JSON object with {', '.join(keys)} "
            "(docs/production.md, step 3)."
        )
    if app.sibling:
        yield f"Name {stage} in provision.account.stages of environments/{app.sibling.stage}.toml as well."
    yield f"python -m flows preflight {stage}"
    yield f"python -m flows provision {stage}"
