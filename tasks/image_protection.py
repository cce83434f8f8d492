"""The images that a rollback may return to, kept from expiring, as a step of a release."""

from __future__ import annotations

from core.errors import PointsmanError
from core.image_protection import keep_tag, returnable
from core.words import counted
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems.ecr import add_tag
from systems.log import run_logger

__all__ = ["keep_images"]


@step("keep images", "tag the images that a rollback may return to, so that none expires", writes=False)
def keep_images(operation: Operation) -> Done[None]:
    """Tag what the record may return to, where it is not tagged yet; a failure is only logged.

    The newest images are kept by their number as well (`images_kept`), so there is time until the next release.
    """
    tagged, failed = 0, 0
    for image in returnable(operation.record):
        try:
            tagged += add_tag(
                operation.aws, image.repository, image.digest, keep_tag(operation.environment, image.digest)
            )
        except PointsmanError as error:
            failed += 1
            run_logger().warning("%s is not kept from expiring: %s", image.digest, error)
    if failed:
        return done(f"{counted(tagged, 'image')} tagged; {failed} could not be")
    return done(f"{counted(tagged, 'image')} tagged") if tagged else skipped("all of them are tagged")
