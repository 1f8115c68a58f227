"""How many tasks go through the compiled step together: as many as are fast and fit into memory."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxlens._checks import check_int
from jaxlens.optvis.render._arguments import device_list

_USABLE = 0.78  # fraction of the limit
# What a step really takes over what the compiler reports: scratch memory of convolutions, finished
# images, fragments (`python -m benchmarks.memory` finds 1.2 on a CPU).
_TRUE = 1.25
_PER_ACCELERATOR = 64


def default_batch_size(devices: Any) -> int:
    """Return how many tasks per batch are fastest: 64 per accelerator, one per two cores of a CPU.

    A CPU's caches hold one or two tasks, and one task keeps two cores busy
    (`python -m benchmarks.scaling`).

    Args:
        devices: a list of JAX devices of one kind.

    Example:
        >>> import os
        >>> import jax
        >>> from jaxlens.optvis import render
        >>> render.default_batch_size(jax.devices("cpu")[:1]) == max(1, os.cpu_count() // 2)
        True
    """
    devices = device_list(devices)
    few = max(1, (os.cpu_count() or 1) // 2)
    return max(few if devices[0].platform == "cpu" else _PER_ACCELERATOR * len(devices), len(devices))


def layout(count: int, limit: int, devices: Sequence[Any]) -> tuple[Mesh | None, int]:
    """Return the device mesh and the tasks per batch.

    Batches are even, of at most `limit` tasks, and a multiple of the devices.
    """
    devices = list(devices)[: max(1, min(len(devices), count, limit))]
    batches = -(-count // limit)
    per_batch = -(-count // batches)
    per_batch = -(-per_batch // len(devices)) * len(devices)
    return (Mesh(np.array(devices), ("tasks",)) if len(devices) > 1 else None), per_batch


def batches(rows: Sequence[int], size: int) -> list[list[int]]:
    """Return the rows of each batch.

    The last row fills up the last batch, so that it does not compile again.
    """
    parts = [list(rows[low : low + size]) for low in range(0, len(rows), size)]
    return [part + [part[-1]] * (size - len(part)) for part in parts]


def room(limit: Any, devices: Sequence[Any]) -> float:
    """Return the bytes that the compiler may report for a step, per device.

    These are `(0.78 * limit - in_use) / 1.25`: steps really take 1.25 times what is reported.
    The limit is that of each accelerator; on a CPU it is that of this process, and the devices
    share it. By default it is all the memory there is.
    """
    device = devices[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if limit is not None:
        total = check_int(limit, "memory_limit", low=1)
    elif stats:
        total = stats["bytes_limit"]
    else:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else sys.maxsize
    taken = stats["bytes_in_use"] if stats else _resident()
    sharing = len(devices) if device.platform == "cpu" else 1
    return (_USABLE * total - taken) / sharing / _TRUE


def _resident() -> int:
    """Return the bytes of memory that this process has now, or 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def largest(wanted: int, least: int, needs: Callable[[int], int], room: Callable[[], float]) -> int:
    """Return the most tasks whose step needs at most `room` bytes.

    The number is at most `wanted`, and a multiple of `least`. A step's memory grows linearly with
    its tasks, so one or two guesses do. Every guess is compiled, and the last one is used.
    Compiling takes memory itself, so each guess leaves a tenth of the room.

    Raises:
        MemoryError: if `least` tasks do not fit.
    """
    size = wanted
    while (need := needs(size)) > (left := max(room(), 0)):
        if size <= least:
            raise MemoryError(
                f"One task for each device needs {need / 2**20:.0f} MiB, but memory_limit and what is taken already leave "
                f"{left / 2**20:.0f} MiB. Smaller images (size, fixed_image_size), fewer draws, an earlier layer or "
                "more memory would do."
            )
        size = max(least, min(size - least, int(0.9 * size * left / need) // least * least))
    return size


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out."""
    return isinstance(error, MemoryError) or (
        isinstance(error, jax.errors.JaxRuntimeError)
        and any(sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "Out of memory"))
    )
