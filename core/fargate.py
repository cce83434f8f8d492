"""What Fargate offers: the sizes of a task, and what it has not got."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["fault_of_size"]

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html: CPU units to MiB
_MEMORY: dict[int, Sequence[int]] = {
    256: (512, 1024, 2048),
    512: range(1024, 4096 + 1, 1024),
    1024: range(2048, 8192 + 1, 1024),
    2048: range(4096, 16384 + 1, 1024),
    4096: range(8192, 30720 + 1, 1024),
    8192: range(16384, 61440 + 1, 4096),
    16384: range(32768, 122880 + 1, 8192),
}


def fault_of_size(cpu: int, memory: int) -> str | None:
    """Return why Fargate has no task of `cpu` units and `memory` MiB, and what it has; None where it has one."""
    offered = _MEMORY.get(cpu)
    if offered is None:
        return f"cpu = {cpu} is not a size that Fargate offers: {', '.join(map(str, _MEMORY))} (1024 are one vCPU)"
    if memory in offered:
        return None
    return f"memory = {memory} does not go with cpu = {cpu} on Fargate, which offers {_listed(offered)} MiB with it"


def _listed(sizes: Sequence[int]) -> str:
    if not isinstance(sizes, range):
        return f"{', '.join(map(str, sizes[:-1]))} or {sizes[-1]}"
    return f"{sizes[0]} to {sizes[-1]} in steps of {sizes.step}"
