"""Images for another platform on a real engine: what needs no emulator is built, what does is tried first."""

from __future__ import annotations

import os
from pathlib import Path

import docker
import pytest

from core.errors import Refused
from core.image_settings import Platform
from operation.operation import Operation
from systems.docker import child_environment, describe_engine
from systems.ecr import find_image
from systems.platforms import runs_programs
from tasks.image import build_image
from tests.integration.images import Place, checkout_of, configure, pushed_image
from tests.integration.test_build_secrets import with_dockerfile

pytestmark = pytest.mark.integration
FOREIGN: Platform = "linux/amd64" if os.uname().machine == "aarch64" else "linux/arm64"
OWN: Platform = "linux/arm64" if os.uname().machine == "aarch64" else "linux/amd64"
CROSS = """\
FROM --platform=$BUILDPLATFORM pointsman/node:sandbox AS build
RUN node -e "require('fs').writeFileSync('/built', process.arch)"
FROM scratch
COPY --from=build /built /built
"""


def test_a_cross_compiling_dockerfile_is_built_for_the_platform_and_known_by_it(
    operation: Operation, place: Place, tmp_path: Path
) -> None:
    configure(operation, f'[image]\nplatform = "{FOREIGN}"\n')
    reference = pushed_image(operation, with_dockerfile(checkout_of(tmp_path, "cross"), CROSS))
    history = operation.records.version("v1.1.0")
    assert history is not None
    found = find_image(operation.aws, "team/shop", history.images[-1].tag, FOREIGN)
    assert found is not None
    assert reference.endswith(found.digest)
    client = docker.from_env()
    try:
        made = client.images.get(history.images[-1].built).attrs
    finally:
        client.close()
    assert f"{made['Os']}/{made['Architecture']}" == FOREIGN
    assert operation.release.platform == FOREIGN


def tried(platform: Platform, operation: Operation) -> bool:
    return runs_programs(
        platform,
        environment=child_environment(None, attestations=False),
        folder=operation.workspace.folder("platform"),
        timeout=60,
    )


def test_an_engine_runs_programs_of_its_own_platform(operation: Operation) -> None:
    assert describe_engine(operation.block.docker_host).runs_itself(OWN)
    assert tried(OWN, operation)


def test_a_dockerfile_that_runs_on_a_platform_that_the_engine_cannot_is_refused_before_it_is_built(
    operation: Operation, tmp_path: Path
) -> None:
    if tried(FOREIGN, operation):
        pytest.fail(f"this engine emulates {FOREIGN}: the refusal can't be seen here")
    configure(operation, f'[image]\nplatform = "{FOREIGN}"\n')
    text = 'FROM scratch\nCOPY hello /hello\nRUN ["/hello"]\n'
    with pytest.raises(Refused, match=f"cannot build for {FOREIGN}"):
        build_image.fn(operation, with_dockerfile(checkout_of(tmp_path, "foreign"), text))
    assert {s.name: s.outcome for s in operation.journal.steps} == {"build": "failed"}
