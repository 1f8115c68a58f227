"""Seconds to the first picture of a new process: `python -m benchmarks.first_picture`.

Each run is a process of its own that imports jaxlens, loads lensnet and renders one neuron at 128
px. "cold" starts with an empty compilation cache, "warm" with what the cold one left there.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import click
import numpy as np

from benchmarks.harness import record

CHILD = """
import time; began = time.time()
import jax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
from jaxlens import modelzoo
from jaxlens.optvis import render
imported = time.time()
model = modelzoo.load("lensnet")
loaded = time.time()
render.render(model, {neuron!r}, size=128, steps={steps}, progress=False)
import json; print(json.dumps([began, imported, loaded, time.time()]))
"""
PARTS = ("start", "import", "load", "render")


def once(cache: str, neuron: str, steps: int) -> dict[str, float]:
    """Return the seconds of each part of one process, and their "total"."""
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache, "JAX_PLATFORMS": "cpu"}
    began = time.time()
    code = CHILD.format(neuron=neuron, steps=steps)
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    times = [began, *json.loads(out.splitlines()[-1])]
    return dict(zip(PARTS, np.diff(times).tolist(), strict=True)) | {"total": time.time() - began}


@click.command()
@click.option("--neuron", default="mixed4a:0", show_default=True)
@click.option("--steps", default=128, show_default=True)
@click.option("--repeats", default=3, show_default=True)
def main(neuron: str, steps: int, repeats: int) -> None:
    """Measure, print and record medians."""
    runs: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            for kind in runs:
                runs[kind].append(once(cache, neuron, steps))
    rows = []
    for kind, found in runs.items():
        rows.append({"run": kind} | {f"{part}_s": float(np.median([run[part] for run in found])) for part in found[0]})
        click.echo(f"{kind}: " + ", ".join(f"{part} {rows[-1][f'{part}_s']:.1f} s" for part in found[0]))
    record("first_picture_cpu", rows, neuron=neuron, steps=steps, repeats=repeats)


if __name__ == "__main__":
    main()
