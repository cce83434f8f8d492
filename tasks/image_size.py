"""The size of a release's image as a step: a table for people, and a warning where it grew."""

from __future__ import annotations

import re

from prefect.artifacts import create_markdown_artifact

from core.errors import PointsmanError
from core.image_size import ImageSize, growth_warning, shown_bytes
from core.release import Release
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems import ecr
from systems.log import run_logger

__all__ = ["note_size"]


@step("size", "read the size of {operation.release}'s image, layer by layer", writes=False)
def note_size(operation: Operation) -> Done[None]:
    """Publish the image's layers as an artifact; warn if it grew by more than `image.warn_growth` since what is live.

    Who may not read it loses that table, and no release.
    """
    release = operation.release
    try:
        size = _read(operation, release)
    except PointsmanError as error:
        return skipped(f"not known: {error}")
    before = _live(operation)
    try:
        _publish(operation, size.describe(f"{release.version} → {operation.environment}: image", before))
    except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises
        run_logger().warning("The size of the image could not be published: %s", error)
    warning = growth_warning(size, before, operation.settings.image.warn_growth_bytes)
    if warning:
        run_logger().warning("%s: %s", release.version, warning)
        return done(f"WARNING: {warning}")
    return done(f"{shown_bytes(size.total)} in {len(size.layers)} layers")


def _live(operation: Operation) -> ImageSize | None:
    live = operation.record.live
    if live is None:
        return None
    try:
        return _read(operation, live.release)
    except PointsmanError as error:
        run_logger().info("The size of what is live is not known: %s", error)
        return None


def _read(operation: Operation, release: Release) -> ImageSize:
    return ecr.read_size(operation.aws, release.image_repository, release.image_digest, release.platform)


def _publish(operation: Operation, markdown: str) -> None:
    create_markdown_artifact(
        key=re.sub(r"[^a-z0-9-]+", "-", f"image-{operation.environment}".lower()),
        description="The image's layers, the largest first",
        markdown=markdown,
    )
