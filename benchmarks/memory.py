"""Memory against batch, steps and limit.

`python -m benchmarks.memory [--network squeezenet1_1 --layer features.9]`

Each measurement is a process of its own: its peak resident memory, what it had before rendering,
what the compiler says a step needs, and how many tasks went through the step together. With a limit
in GB it wants 2048 tasks at once and takes as many as fit.
"""

import json
import os
import subprocess
import sys

import click
import numpy as np

from benchmarks.harness import record

CHILD = """
import json, resource, sys
import jax
from jaxlens import modelzoo
from jaxlens.optvis import objectives, render
from jaxlens.optvis.render import _step, _tasks

network, layer, batch, steps, limit = sys.argv[1], sys.argv[2], *map(float, sys.argv[3:6])
model = modelzoo.load(network, weights=None, progress=False)
sizes, needs = [], []
run, memory = _tasks.run_batch, _step.memory
def first(*args):
    if sizes and limit:  # one batch is enough
        raise KeyboardInterrupt
    sizes.append(len(args[3]))
    return run(*args)

_tasks.run_batch = first
_step.memory = lambda *args: (needs.append(memory(*args)), needs[-1])[1]

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = peak()
channels = [number % model.layers[layer].channels for number in range(int(batch))]
render.render(
    model, objectives.channel(layer, channels), steps=int(steps), batch_size=int(batch), redirect_steps=0, progress=False,
    memory_limit=int(limit * 1e9) or None,
)
print(json.dumps({"tasks": sizes[0], "before": before, "peak": peak(), "step": needs[-1]}))
"""


def once(network: str, layer: str, batch: int, steps: int, limit: float = 0) -> dict[str, float]:
    """Run one process, and return its bytes and how many tasks it rendered together."""
    command = [sys.executable, "-c", CHILD, network, layer, str(batch), str(steps), str(limit)]
    done = subprocess.run(command, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"batch {batch}, {steps} steps, limit {limit}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


@click.command()
@click.option("--network", default="squeezenet1_1", show_default=True)
@click.option("--layer", default="features.9", show_default=True)
@click.option("--batches", default="1,2,4,8,16,32", show_default=True)
@click.option("--steps", default="1,8,32", show_default=True)
@click.option("--limits", default="2,4,8,16", show_default=True, help="GB")
def main(network: str, layer: str, batches: str, steps: str, limits: str) -> None:
    """Measure, print and record."""
    rows: list[dict[str, float | str]] = []

    def add(kind: str, **settings: float) -> None:
        found = once(network, layer, int(settings["batch"]), int(settings["steps"]), settings.get("limit", 0))
        rows.append({"kind": kind} | settings | {k: v if k == "tasks" else v / 1e9 for k, v in found.items()})
        row = rows[-1]
        print(kind, settings, f"{row['tasks']} tasks: step {row['step']:.3f} GB, peak {row['peak']:.3f} GB", flush=True)

    for batch in map(int, batches.split(",")):
        add("batch", batch=batch, steps=2)
    for count in map(int, steps.split(",")):
        add("steps", batch=4, steps=count)
    for limit in map(float, limits.split(",")):
        add("limit", batch=2048, steps=1, limit=limit)
        print(f"  {float(rows[-1]['peak']) / limit:.0%} of the limit")
    many = [(float(row["tasks"]), float(row["step"]), float(row["peak"])) for row in rows if row["kind"] == "batch"]
    tasks, step, peak = np.array(many).T
    slope, fixed = np.polyfit(tasks, step, 1)
    straight = float(np.abs(fixed + slope * tasks - step).max() / step.max())
    fit = {
        "gb_per_task": slope,
        "fixed_gb": fixed,
        "largest_residual": straight,
        "peak_gb_per_task": np.polyfit(tasks, peak, 1)[0],
    }
    print({name: round(float(value), 4) for name, value in fit.items()})
    print(record("memory_cpu", rows, network=network, layer=layer, **{name: float(value) for name, value in fit.items()}))


if __name__ == "__main__":
    main()
