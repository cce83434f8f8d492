"""Whether an engine runs programs of a platform: its machine does, or an emulator is registered there."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from core.image_settings import Platform
from systems.docker import find_builder
from systems.processes import run_streamed

__all__ = ["runs_programs", "smallest_program"]

_BASE = 0x400000
_HEADERS = 64 + 56

# exit(0), and the number of the machine in ELF's header: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
_EXITS: Mapping[Platform, tuple[int, bytes]] = {
    "linux/amd64": (62, bytes.fromhex("31ff b83c000000 0f05")),  # xor edi, edi; mov eax, 60; syscall
    "linux/arm64": (183, bytes.fromhex("000080d2 a80b80d2 010000d4")),  # mov x0, 0; mov x8, 93; svc 0
}


def runs_programs(platform: Platform, *, environment: Mapping[str, str], folder: Path, timeout: float) -> bool:
    """Whether a `RUN` step of that platform can run at all, tried with the smallest program that there is.

    It pulls nothing, and its image has no tag. Raises `Permanent` where the docker client is missing or takes too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "exit"
    program.write_bytes(smallest_program(platform))
    program.chmod(0o755)
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY exit /exit\nRUN ["/exit"]\n')
    command = [
        find_builder(environment.get("PATH", "")),
        "build",
        f"--platform={platform}",
        "--no-cache",
        "--progress=plain",
        "--network=none",
        str(folder),
    ]
    return run_streamed(command, on_line=lambda _: None, environment=environment, timeout=timeout) == 0


def smallest_program(platform: Platform) -> bytes:
    """Return a static ELF program of one loaded segment that ends at once."""
    machine, code = _EXITS[platform]
    length = _HEADERS + len(code)
    identity = b"\x7fELF" + bytes([2, 1, 1, 0]) + bytes(8)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, length, length, 0x10000)
    return identity + header + segment + code
