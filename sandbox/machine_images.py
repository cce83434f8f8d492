"""The images that `compose.yaml` builds on and runs, made of Debian's packages where no image can be pulled.

Limits: Debian's packages instead of the official images, and of their entry points what `compose.yaml` uses. They are
for demo and tests alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import docker.errors

from core.errors import Permanent, Refused
from sandbox.settings import CODE
from systems.terraform_provider import locked_version, mirror_directories

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["BASE", "POSTGRES", "PROXY", "TERRAFORM", "ensure_images"]

BASE = "pointsman/python:machine"
TERRAFORM = "pointsman/terraform:machine"
POSTGRES = "pointsman/postgres:machine"
PROXY = "pointsman/caddy:machine"

_SERVICES = "pointsman/services:machine"
_SUITE = "trixie"
_LABEL = "pointsman.recipe"
_CA = "/etc/ssl/certs/ca-certificates.crt"
_PROVIDERS = "registry.terraform.io/hashicorp/aws"

_POSTGRES_ENTRYPOINT = """\
#!/bin/sh
# Of the official image's entry point what compose.yaml uses: user, database, and a password out of a file.
set -eu
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  install -d -o postgres -g postgres -m 0700 "$PGDATA"
  install -o postgres -m 0400 "$POSTGRES_PASSWORD_FILE" /tmp/password
  as_postgres initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" --pwfile /tmp/password --encoding UTF8 \\
    --locale C.UTF-8 --auth-local trust --auth-host scram-sha-256 --no-instructions
  rm /tmp/password
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB" | as_postgres postgres --single -D "$PGDATA" postgres
fi
install -d -o postgres -g postgres /var/run/postgresql
exec setpriv --reuid postgres --regid postgres --clear-groups postgres -D "$PGDATA" -c listen_addresses='*'
"""
_POSTGRES_DOCKERFILE = f"""\
FROM {_SERVICES}
COPY --chmod=0755 entrypoint /usr/local/bin/docker-entrypoint.sh
ENV PATH=/usr/lib/postgresql/17/bin:/usr/sbin:/usr/bin:/sbin:/bin PGDATA=/var/lib/postgresql/data
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
"""
_PROXY_DOCKERFILE = f"""\
FROM {_SERVICES}
RUN ln -s /bin/busybox /usr/local/bin/wget
ENV PATH=/usr/local/bin:/usr/bin:/bin XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
"""


def ensure_images(docker_client: DockerClient) -> None:
    """Make the four images that are missing or were made by another recipe.

    Raises `Refused` where a program for it is missing, `Permanent` where it fails.
    """
    if not _is_made(docker_client, BASE, _recipe("python")):
        packages = ("python3", "python3-venv", "ca-certificates")
        # pip and git must trust what this machine trusts.
        trust = [f"ENV {name}={_CA}" for name in ("PIP_CERT", "SSL_CERT_FILE")]
        with _debian(packages) as tree:
            _import(docker_client, tree, BASE, _recipe("python"), trust)
    if not _is_made(docker_client, TERRAFORM, _recipe("terraform")):
        with _terraform() as tree:
            _import(docker_client, tree, TERRAFORM, _recipe("terraform"), [])
    recipe = _recipe("services", _POSTGRES_DOCKERFILE, _POSTGRES_ENTRYPOINT, _PROXY_DOCKERFILE)
    if not (_is_made(docker_client, POSTGRES, recipe) and _is_made(docker_client, PROXY, recipe)):
        with _debian(("postgresql", "caddy", "busybox", "ca-certificates")) as tree:
            _import(docker_client, tree, _SERVICES, recipe, [])
        _build(_POSTGRES_DOCKERFILE, POSTGRES, entrypoint=_POSTGRES_ENTRYPOINT)
        _build(_PROXY_DOCKERFILE, PROXY)


def _recipe(*parts: str) -> str:
    return hashlib.sha256("\0".join((_SUITE, *parts)).encode()).hexdigest()


def _is_made(docker_client: DockerClient, image: str, recipe: str) -> bool:
    try:
        return bool(docker_client.images.get(image).labels.get(_LABEL) == recipe)
    except docker.errors.ImageNotFound:
        return False


def _import(docker_client: DockerClient, tree: Path, image: str, recipe: str, changes: Sequence[str]) -> None:
    repository, _, tag = image.partition(":")
    with tree.open("rb") as layer:
        docker_client.api.import_image_from_stream(
            iter(lambda: layer.read(1 << 20), b""),
            repository=repository,
            tag=tag,
            changes=["ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"LABEL {_LABEL}={recipe}", *changes],
        )
    if not _is_made(docker_client, image, recipe):
        raise Permanent(f"The Docker engine took the image {image} but does not list it", do="See the engine's log.")


@contextmanager
def _debian(packages: Sequence[str]) -> Iterator[Path]:
    """A small Debian with these packages, as a tar file that also trusts this machine's certificate authorities."""
    program = shutil.which("mmdebstrap")
    if program is None or os.geteuid() != 0:
        raise Refused(
            "The machine's base images cannot be made",
            why="no image can be pulled, and mmdebstrap, run as root, would make them of Debian's packages",
            do="Run `scripts/setup --machine` as root.",
        )
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree.tar"
        # A path that a tar file holds twice is refused by the engine, so the bundle is replaced before there is one.
        trust = [f"--customize-hook=upload {Path(_CA).resolve()} {_CA}"] if Path(_CA).is_file() else []
        options = ["--quiet", "--variant=minbase", f"--include={','.join(packages)}", *trust]
        _run([program, *options, _SUITE, str(tree)], f"Debian's {', '.join(packages)} could not be fetched")
        yield tree


@contextmanager
def _terraform() -> Iterator[Path]:
    """This machine's Terraform, where the official image has it, and the provider that it keeps beside it."""
    program = shutil.which("terraform")
    provider = _kept_provider(locked_version(CODE / "terraform" / "slot"))
    if program is None or provider is None:
        raise Refused(
            "The machine's Terraform image cannot be made",
            why="this machine has no Terraform, or keeps no provider",
            do="Run `scripts/setup`.",
        )
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree.tar"
        with tarfile.open(tree, "w", dereference=True) as archive:
            archive.add(Path(program).resolve(), "bin/terraform")
            archive.add(provider[0].resolve(), f"{_PROVIDERS}/{provider[1]}")
        yield tree


def _kept_provider(version: str) -> tuple[Path, Path] | None:
    """Return where the provider lies, as a folder or an archive, and its place below the provider's address."""
    for place in mirror_directories(os.environ):
        home = place / _PROVIDERS
        for found in (*home.glob(f"{version}/linux_*"), *home.glob(f"terraform-provider-aws_{version}_linux_*.zip")):
            return found, found.relative_to(home)
    return None


def _build(dockerfile: str, image: str, **files: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in {"Dockerfile": dockerfile, **files}.items():
            (Path(folder) / name).write_text(text)
        recipe = _recipe("services", _POSTGRES_DOCKERFILE, _POSTGRES_ENTRYPOINT, _PROXY_DOCKERFILE)
        command = ["docker", "build", "--quiet", f"--tag={image}", f"--label={_LABEL}={recipe}", folder]
        _run(command, f"The image {image} could not be built")


def _run(command: Sequence[str], failure: str) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Permanent(failure, why=(done.stderr.strip() or done.stdout.strip())[-1_500:])
