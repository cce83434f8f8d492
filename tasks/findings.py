"""What ECR's scan found in a release's image, as steps: a gate on wish, and a line for people."""

from __future__ import annotations

from core.errors import PointsmanError
from core.findings import ImageScan, refuse_severe_findings
from operation.operation import Operation
from operation.step import Done, done, skipped, step
from systems import ecr
from systems.polling import patient, polls

__all__ = ["check_findings", "note_findings"]


@step("scan", "check what ECR's scan found in {operation.release}", writes=False)
def check_findings(operation: Operation) -> Done[None]:
    """Raise `Refused` if the image has findings that `[image] refuse_findings` refuses, or the scan does not finish.

    Before the slot is vacated: a refused release has cost nothing, the fallback neither.
    """
    limit = operation.settings.image.refuse_findings
    if limit is None:
        return skipped("[image] refuse_findings is not set")
    scan = _wait_for_scan(operation)
    refuse_severe_findings(scan, limit, operation.release.version)
    return done(str(scan))


@step("findings", "read what ECR's scan found in {operation.release}", writes=False)
def note_findings(operation: Operation) -> Done[None]:
    """Write down what the scan says by now; who may not read it loses that line, and no release."""
    try:
        return done(str(_read(operation)))
    except PointsmanError as error:
        return skipped(f"not known: {error}")


def _wait_for_scan(operation: Operation) -> ImageScan:
    timing, scan = operation.settings.timing, ImageScan(None)
    for _ in polls(every=timing.poll, within=timing.scan, check=operation.lease.check):
        scan = patient(lambda: _read(operation)) or scan
        if not scan.may_finish:
            break
    return scan


def _read(operation: Operation) -> ImageScan:
    release = operation.release
    return ecr.read_scan(operation.aws, release.image_repository, release.image_digest, release.platform)
