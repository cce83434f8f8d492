"""Looks at this machine: engine, builder, disk, Terraform and its provider, and what a build reaches."""

from __future__ import annotations

import os
import shutil
from tempfile import gettempdir

from blocks.environment import PROJECT
from core.dockerfile import base_images
from core.errors import Permanent, Transient
from core.preflight.judgement import Judgement, failed_by, passed, unknown
from core.preflight.machine import (
    Engine,
    FreeSpace,
    judge_disk,
    judge_engine,
    judge_lock_files,
    judge_metadata,
    judge_provider,
    judge_store,
    judge_terraform,
)
from systems import docker
from systems.terraform_provider import (
    child_environment,
    kept_provider,
    locked_version,
    read_lock_file,
    required_version,
    terraform_version,
)
from tasks.image import credentials_in_reach
from tasks.preflight.ground import Ground, Look
from tasks.preflight.source import read_text

__all__ = ["LOOKS"]

_ROOTS = ("account", "environment", "slot")


def _engine(ground: Ground) -> Judgement:
    try:
        return judge_engine(_described(ground), ground.settings.image.platform)
    except (Permanent, Transient) as error:
        return failed_by(error)


def _described(ground: Ground) -> Engine:
    return ground.once("engine", lambda: docker.describe_engine(ground.operation.block.docker_host))


def _variables(ground: Ground) -> dict[str, str]:
    return docker.child_environment(ground.operation.block.docker_host.base_url, attestations=False)


def _builder(ground: Ground) -> Judgement:
    try:
        return passed(docker.find_builder(_variables(ground).get("PATH", os.defpath)))
    except Permanent as error:
        return failed_by(error)


def _store(ground: Ground) -> Judgement:
    variables = _variables(ground)
    client = docker.find_builder(variables.get("PATH", os.defpath))
    return judge_store(_described(ground), docker.current_driver(client, variables))


def _disk(ground: Ground) -> Judgement:
    spaces = [FreeSpace("the workspace", gettempdir(), shutil.disk_usage(gettempdir()).free)]
    host = ground.operation.block.docker_host.base_url
    root = str(_described(ground).root)
    if (host is None or host.startswith("unix:")) and os.path.isdir(root):
        spaces.append(FreeSpace("the engine", root, shutil.disk_usage(root).free))
    return judge_disk(spaces, ground.settings.preflight.least_free_gib)


def _metadata(ground: Ground) -> Judgement:
    settings = ground.settings
    if settings.aws.endpoint_url is not None:
        return unknown("an emulated AWS gives credentials to nobody")
    if settings.docker.build_network == "none":
        return passed("builds have no network")
    dockerfile = read_text(ground, settings.image.dockerfile)
    bases = base_images(dockerfile or "", settings.image.build_args)
    if not bases:
        return unknown("the Dockerfile names no base image to look from")
    return judge_metadata(credentials_in_reach(ground.operation, bases[0]), bases[0])


def _terraform(ground: Ground) -> Judgement:
    try:
        version = terraform_version(child_environment(os.environ, {}))
    except Permanent as error:
        return failed_by(error)
    return judge_terraform(version, required_version(PROJECT / "terraform" / "slot"))


def _provider(ground: Ground) -> Judgement:
    version = locked_version(PROJECT / "terraform" / "slot")
    return judge_provider(version, kept=kept_provider(version, child_environment(os.environ, {})))


def _lock_files(ground: Ground) -> Judgement:
    return judge_lock_files({root: read_lock_file(PROJECT / "terraform" / root) for root in _ROOTS})


LOOKS: dict[str, Look] = {
    "Docker engine": _engine,
    "BuildKit": _builder,
    "image store": _store,
    "disk space": _disk,
    "metadata service": _metadata,
    "Terraform": _terraform,
    "provider": _provider,
    "lock files": _lock_files,
}
