"""Judgements of the machine that releases: engine, builder, disk, Terraform and its provider."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from core.image_settings import Platform
from core.preflight.judgement import Judgement, failed, passed, unknown

__all__ = [
    "Engine",
    "FreeSpace",
    "LockFile",
    "judge_disk",
    "judge_engine",
    "judge_lock_files",
    "judge_metadata",
    "judge_provider",
    "judge_store",
    "judge_terraform",
]

# What Docker calls a machine, and what `uname -m` does.
_MACHINES: Mapping[Platform, frozenset[str]] = {
    "linux/amd64": frozenset({"amd64", "x86_64"}),
    "linux/arm64": frozenset({"aarch64", "arm64"}),
}
_GIB = 2**30
_KEPT_TO_ITSELF = ("docker-container", "kubernetes", "remote")


@dataclass(frozen=True)
class Engine:
    """What a Docker engine says of itself."""

    version: str
    os: str
    architecture: str
    root: PurePath
    """Where it keeps images, on its own machine."""
    containerd: bool
    """Whether images are in containerd's store rather than in the classic one."""

    def runs_itself(self, platform: Platform) -> bool:
        """Whether its machine runs programs of that platform without emulating it."""
        return self.architecture in _MACHINES[platform]


def judge_engine(engine: Engine, platform: Platform = "linux/amd64") -> Judgement:
    """Judge the engine that builds images for `platform`; whether it emulates one is tried by each release."""
    if engine.os != "linux":
        return failed(f"the engine runs {engine.os}, and images are for {platform}")
    emulated = "" if engine.runs_itself(platform) else f", which emulates {platform}"
    return passed(f"{engine.version} on {engine.architecture}{emulated}")


def judge_store(engine: Engine, driver: str) -> Judgement:
    """Judge where builds leave their images: `driver` is the current builder's, `docker` for clients without any."""
    if driver in _KEPT_TO_ITSELF:
        return failed(f"the current builder has the driver {driver}, which does not load images into the engine")
    return passed(f"{'containerd' if engine.containerd else 'classic'} store")


@dataclass(frozen=True)
class FreeSpace:
    """Free bytes at a folder."""

    what: str
    path: str
    free: int


def judge_disk(spaces: Sequence[FreeSpace], least_gib: float) -> Judgement:
    """Judge free space against the setting, in GiB."""
    seen = ", ".join(f"{space.free / _GIB:.1f} GiB at {space.path} ({space.what})" for space in spaces)
    if any(space.free < least_gib * _GIB for space in spaces):
        return failed(f"{seen}; preflight.least_free_gib is {least_gib:g}")
    return passed(seen)


def judge_metadata(reached: Sequence[str] | None, base: str) -> Judgement:
    """Judge the addresses that a RUN step upon `base` got credentials from; None where it could not look."""
    if reached is None:
        return unknown(f"{base} has no shell, or no curl, node, python3 or nc to look with")
    if reached:
        return failed(f"a RUN step got an answer of {' and of '.join(reached)}")
    return passed("a RUN step gets no answer")


def judge_terraform(version: str, required: str) -> Judgement:
    """Judge Terraform's version against the roots' `required_version`, of the form `>= 1.10`."""
    least = re.search(r"\d+(?:\.\d+)*", required)
    if least is None or _numbers(version) >= _numbers(least.group()):
        return passed(version)
    return failed(f"{version}, and the roots require {required}")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version.partition("-")[0])]


def judge_provider(version: str, *, kept: bool) -> Judgement:
    """Judge whether the locked provider is on this machine."""
    return passed(f"hashicorp/aws {version}") if kept else failed(f"hashicorp/aws {version} is not kept here")


@dataclass(frozen=True)
class LockFile:
    """What a root's lock file says of the AWS provider."""

    version: str
    checksums: int


def judge_lock_files(files: Mapping[str, LockFile | None]) -> Judgement:
    """Judge the lock files by root; None for one that is missing or names no AWS provider."""
    faults = [f"{root} has none for hashicorp/aws" for root, file in files.items() if file is None]
    there = {root: file for root, file in files.items() if file is not None}
    faults += [f"{root} has no checksums" for root, file in there.items() if not file.checksums]
    versions = sorted({file.version for file in there.values()})
    if len(versions) > 1:
        faults.append(", ".join(f"{root} locks {file.version}" for root, file in there.items()))
    return failed("; ".join(faults)) if faults else passed(f"hashicorp/aws {versions[0]} in {len(there)} roots")
