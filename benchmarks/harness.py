"""One way to measure: warm-up, finished work, medians and spreads, a record that says where and with what.

Things that are compared run alternately in one process, so that a busy machine slows them alike.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch", "torchvision", "torch-lucent", "kornia")


def compare(contestants: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Times functions in turn, `repeats` times each, after one call of each that compiles.

    Every function must block until its work is done. Returns, per name, seconds: `first` (with compilation), `median`,
    `low` and `high` (the quartiles).
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    first = {name: _timed(run) for name, run in contestants.items()}
    for _ in range(repeats):
        for name, run in contestants.items():
            times[name].append(_timed(run))
    return {name: {"first": first[name]} | spread(values) for name, values in times.items()}


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": median, "low": low, "high": high}


def record(name: str, rows: list[dict[str, Any]], **settings: Any) -> Path:
    """Writes `results/NAME.json` with the rows, the settings, the machine, versions and commit."""
    content = {
        "name": name,
        "argv": sys.argv,
        "settings": settings,
        "machine": machine(),
        "versions": {p: metadata.version(p) for p in PACKAGES if _installed(p)} | {"python": platform.python_version()},
        "git": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip(),
        "date": time.strftime("%Y-%m-%d"),
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.processor()
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "device": jax.devices()[0].device_kind,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": load,
        "system": platform.platform(),
    }


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
