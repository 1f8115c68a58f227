"""The growth of the cost of rendering with batch, image size, depth of the layer and steps.

`python -m benchmarks.scaling [batch] [size] [depth] [steps] [--network NAME --layer LAYER]`

Each part varies one thing and fits a law to the medians. Batch and size: seconds = c * x**slope, by
least squares of the logarithms (batch: 1 is no gain from batching; size: 2 is the number of
pixels). Depth and steps: seconds = a + b * x, where x is the operations of the compiled step, by
XLA's count, or the number of steps; `r2` is the part of the variance explained.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import click
import numpy as np

from benchmarks import flops, harness
from jaxlens import modelzoo
from jaxlens.model import Model
from jaxlens.optvis import objectives
from jaxlens.optvis.render import render

BATCHES = {"cpu": (1, 2, 4, 8, 16), "gpu": (1, 4, 16, 64, 128, 256)}
SIZES = {"cpu": (64, 96, 128, 192, 256), "gpu": (64, 128, 256, 512)}
STEPS = {"cpu": (8, 16, 32, 64, 128), "gpu": (32, 64, 128, 256, 512)}
NEURON_STEPS = {"cpu": 64, "gpu": 4096}  # of a timed run
LEAST = 8  # steps: fewer would time the start
Measured = tuple[list[dict[str, Any]], dict[str, float]]


def power(x: Sequence[float], y: Sequence[float]) -> dict[str, float]:
    """Fit `y = c * x**slope` by least squares of the logarithms."""
    fit = line(np.log(x), np.log(y))
    return {"slope": fit["b"], "c": float(np.exp(fit["a"])), "r2": fit["r2"]}


def line(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Fit `y = a + b * x` by least squares. `r2` is the explained fraction of the variance."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    (a, b), *_ = np.linalg.lstsq(np.stack([np.ones_like(x), x], 1), y, rcond=None)
    return {"a": float(a), "b": float(b), "r2": float(1 - ((y - a - b * x) ** 2).sum() / ((y - y.mean()) ** 2).sum())}


def timed(part: str, runs: dict[Any, tuple[Callable[[], Any], int]], repeats: int) -> list[dict[str, Any]]:
    """Measure a row of milliseconds per step for each value of x."""
    times = harness.compare({x: run for x, (run, _) in runs.items()}, repeats)
    return [
        {"part": part, "x": x} | {f"{key}_ms": 1e3 * times[x][key] / steps for key in ("median", "low", "high")}
        for x, (_, steps) in runs.items()
    ]


def medians(rows: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    return [row["x"] for row in rows], [row["median_ms"] for row in rows]


def call(model: Model, layer: str, batch: int, steps: int, size: int, seen: int | None = None) -> Callable[[], Any]:
    """Return a render of the first neurons of a layer in one batch."""
    neurons = objectives.channel(layer, range(batch))
    options = {"size": size, "fixed_image_size": seen, "progress": False, "redirect_steps": 0}
    return lambda: render(model, neurons, steps=steps, batch_size=batch, **options)


def steps_of(batch: int, options: dict[str, Any]) -> int:
    return max(LEAST, options["neuron_steps"] // batch)


def by_batch(model: Model, options: dict[str, Any]) -> Measured:
    count = {batch: steps_of(batch, options) for batch in options["batches"]}
    runs = {b: (call(model, options["layer"], b, n, options["size"]), n) for b, n in count.items()}
    rows = timed("batch", runs, options["repeats"])
    for row in rows:
        row["neuron_ms"] = row["median_ms"] / row["x"]
    return rows, power(*medians(rows))


def by_size(model: Model, options: dict[str, Any]) -> Measured:
    """Measure by image size. The network sees the images at their own size."""
    batch, count = options["batch"], steps_of(options["batch"], options)
    sizes = {size: (call(model, options["layer"], batch, count, size, size), count) for size in options["sizes"]}
    rows = timed("size", sizes, options["repeats"])
    return rows, power(*medians(rows))


def by_depth(model: Model, options: dict[str, Any]) -> Measured:
    batch, count = options["batch"], steps_of(options["batch"], options)
    runs = {layer: (call(model, layer, batch, count, options["size"]), count) for layer in options["layers"]}
    rows = timed("depth", runs, options["repeats"])
    for row in rows:
        row["layer"] = row["x"]
        step = flops.lowered(call(model, row["layer"], batch, 1, options["size"]))
        # on a GPU a compiled step has lost its convolutions to a library
        row["x"] = (flops.counted(step.compile() if harness.backend() == "cpu" else step) or math.nan) / 1e9
    return rows, line(*medians(rows))


def by_steps(model: Model, options: dict[str, Any]) -> Measured:
    """Measure whole renders, so that `a` is the cost of a render apart from its steps."""
    runs = {n: (call(model, options["layer"], options["batch"], n, options["size"]), 1) for n in options["counts"]}
    rows = timed("steps", runs, options["repeats"])
    return rows, line(*medians(rows))


PARTS = {"batch": by_batch, "size": by_size, "depth": by_depth, "steps": by_steps}


def spread_out(model: Model, layer: str, count: int) -> list[str]:
    """Return `count` layers with maps, evenly from the first convolution to `layer`."""
    names = [name for name, each in model.layers.items() if len(each.shape) == 3 and name != "input"]
    names = names[: names.index(model.resolve(layer)) + 1]
    return [names[round(i)] for i in np.linspace(0, len(names) - 1, min(count, len(names)))]


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--network", default="squeezenet1_1", show_default=True)
@click.option("--layer", default="features.9", show_default=True)
@click.option("--depths", default=6, show_default=True, help="Layers of the part `depth`, up to --deepest.")
@click.option("--deepest", default="features.12", show_default=True)
@click.option("--size", default=128, show_default=True)
@click.option("--batch", type=int, help="Neurons of the parts but `batch`.  [default: 1, on a GPU 64]")
@click.option("--most", type=int, help="Largest batch; those of the list up to it.")
@click.option("--largest", type=int, help="Largest image; those of the list up to it.")
@click.option("--longest", type=int, help="Most steps; those of the list up to it.")
@click.option("--neuron-steps", type=int, help="Neurons times steps of a timed run.  [default: 64, on a GPU 4096]")
@click.option("--repeats", default=5, show_default=True)
def main(parts: tuple[str, ...], network: str, depths: int, deepest: str, **options: Any) -> None:
    """Measure PARTS, or all, and write the record after each."""
    on = harness.backend()
    model = modelzoo.load(network, weights=None)
    options["batch"] = options["batch"] or (64 if on == "gpu" else 1)
    options["neuron_steps"] = options["neuron_steps"] or NEURON_STEPS[on]
    for key, values, limit in (("batches", BATCHES, "most"), ("sizes", SIZES, "largest"), ("counts", STEPS, "longest")):
        most = options.pop(limit)
        options[key] = [value for value in values[on] if most is None or value <= most]
    options["layers"] = spread_out(model, deepest, depths)
    rows: list[dict[str, Any]] = []
    fits: dict[str, dict[str, float]] = {}
    for part in parts or PARTS:
        found, fits[part] = PARTS[part](model, options)
        rows += found
        for row in found:
            print(f"{part} {row['x']:g}: {row['median_ms']:.1f} ms ({row['low_ms']:.1f} to {row['high_ms']:.1f})")
        print(f"{part}: " + ", ".join(f"{key} {value:.3g}" for key, value in fits[part].items()), flush=True)
        print(harness.record(f"scaling_{on}", rows, network=network, fits=fits, **options))


if __name__ == "__main__":
    main()
