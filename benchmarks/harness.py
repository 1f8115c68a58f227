"""The way to measure: warm-up, finished work, medians and spreads, a record with its machine.

Things that are compared run alternately in one process, so that a busy machine slows them alike.
Records go to `results`, or to the folder that `JAXLENS_BENCH_RESULTS` names: trial runs must not
overwrite what was measured with care.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import jax

from jaxlens._files import atomic

RESULTS = Path(os.environ.get("JAXLENS_BENCH_RESULTS") or Path(__file__).parent / "results")
BUSY = 0.3  # cores that others may keep busy while something is measured
Name = TypeVar("Name", bound=Hashable)
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "torchvision", "torch-lucent", "kornia")


def compare(
    contestants: Mapping[Name, Callable[[], Any]], repeats: int, failed: dict[Name, str] | None = None
) -> dict[Name, dict[str, float]]:
    """Time functions in turn, `repeats` times each, after one call of each that compiles.

    Every function must block until its work is done. Returns, per name, seconds: `first` (with
    compilation), `median`, `low` and `high` (the quartiles). With `failed`, a function whose first
    call raises is left out, and that says why.
    """
    first: dict[Name, float] = {}
    for name, run in contestants.items():
        try:
            first[name] = _timed(run)
        except Exception as error:
            if failed is None:
                raise
            failed[name] = f"{type(error).__name__}: {error}"[:500]
    times: dict[Name, list[float]] = {name: [] for name in first}
    for _ in range(repeats):
        for name in times:
            times[name].append(_timed(contestants[name]))
    return {name: {"first": first[name]} | spread(values) for name, values in times.items()}


def spread(values: list[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": median, "low": low, "high": high}


def record(name: str, rows: list[dict[str, Any]], **settings: Any) -> Path:
    """Write `results/NAME.json` with the rows, settings, machine, versions and commit.

    Written after each row, so that an interrupted run loses nothing.
    """
    content = {
        "name": name,
        "argv": sys.argv,
        "settings": settings,
        "machine": machine(),
        "versions": {p: metadata.version(p) for p in PACKAGES if _installed(p)} | {"python": platform.python_version()},
        "git": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "rows": rows,
    }
    path = RESULTS / f"{name}.json"
    with atomic(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n")
    return path


def commit() -> str:
    """Return the commit of the working tree, or `JAXLENS_COMMIT` for a copy without history."""
    given = os.environ.get("JAXLENS_COMMIT")
    if given or shutil.which("git") is None:
        return given or ""
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()


def backend() -> str:
    """Return the end of a record's name: "cpu" or "gpu"."""
    return jax.devices()[0].platform


def machine() -> dict[str, Any]:
    """Return a description of this machine."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.processor()
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "device": jax.devices()[0].device_kind,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": load,
        "others": busy(),
        "system": platform.platform(),
    }


def busy(seconds: float = 0.25) -> float | None:
    """Return how many cores work while this process sleeps. Print it if there are many."""

    def ticks() -> list[int]:
        return [int(word) for word in (_lines("/proc/stat") or ["cpu"])[0].split()[1:]]

    before = ticks()
    time.sleep(seconds)
    passed = [b - a for a, b in zip(before, ticks(), strict=True)]
    if len(passed) < 5 or not sum(passed):  # a system that does not tell
        return None
    idle = passed[3] + passed[4]
    cores = (os.cpu_count() or 1) * (1 - idle / sum(passed))
    if cores > BUSY:
        print(f"Other work keeps {cores:.1f} cores busy: these times are not worth keeping.", file=sys.stderr)
    return cores


def _timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if os.path.exists(path) else []
