"""Recipes in batches against the same recipes one by one.

`python -m benchmarks.batched_recipes --weights squeezenet1_1.pth`

A step must be traced once for a whole batch, and not again for other pictures or directions.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import harness
from jaxlens import modelzoo, recipes
from jaxlens.optvis import objectives, render
from jaxlens.optvis.render import _step

LAYER = "features.9"


@contextlib.contextmanager
def traced() -> Iterator[list[int]]:
    """A list that grows by one for every trace of a step."""
    count, plain = [], _step.score
    _step.step.clear_cache()
    _step.score = lambda *args: (count.append(1), plain(*args))[1]
    try:
        yield count
    finally:
        _step.score = plain


def measured(name: str, tasks: int, together: Callable[[], Any], alone: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Return traces of the first batch and of later ones, and seconds per task in both ways."""
    with traced() as count:
        together()
        first = len(count)
        together()
        again = len(count) - first
    times = harness.compare({"together": together, "alone": alone}, repeats)
    batch, one = times["together"]["median"] / tasks, times["alone"]["median"]
    row = {"recipe": name, "tasks": tasks, "traces": first, "traces_again": again}
    return row | {"s_per_task": batch, "s_alone": one, "ratio": one / batch, "first_s": times["together"]["first"]}


@click.command()
@click.option("--weights", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--size", default=96, show_default=True)
@click.option("--steps", default=16, show_default=True)
@click.option("--repeats", default=3, show_default=True)
def main(weights: Path, size: int, steps: int, repeats: int) -> None:
    """Measure 64 directions, 16 inversions and 16 caricatures, and write the record."""
    model, rng = modelzoo.load("squeezenet1_1", weights), np.random.default_rng(0)
    options = {"steps": steps, "progress": False, "redirect_steps": 0}

    def directions(count: int) -> None:
        vectors = rng.normal(size=(count, model.layers[LAYER].channels))
        render.render(model, objectives.direction_cossim(LAYER, vectors), size=size, batch_size=count, **options)

    def pictures(count: int) -> np.ndarray:
        return rng.uniform(size=(count, size, size, 3)).astype(np.float32)

    def inversions(count: int) -> None:
        recipes.invert(model, pictures(count), LAYER, batch_size=count, **options)

    def caricatures(count: int) -> None:
        recipes.caricature(model, pictures(count), LAYER, batch_size=count, **options)

    rows = []
    for name, recipe, tasks in (
        ("directions", directions, 64),
        ("inversions", inversions, 16),
        ("caricatures", caricatures, 16),
    ):
        run = lambda n, recipe=recipe: lambda: recipe(n)  # noqa: E731
        rows.append(measured(name, tasks, run(tasks), run(1), repeats))
        print(rows[-1], flush=True)
    harness.record("batched_recipes", rows, size=size, steps=steps, repeats=repeats)


if __name__ == "__main__":
    main()
