"""Faithfulness of attributions on photographs.

`python -m benchmarks.faithfulness --weights W.pth --photographs FOLDER`

Deletion (to black), insertion (into a blurred image) and ROAD of each method beside those of random
maps of the same resolution, with a sign test over photographs, and what is left of each map when
the network is randomized from the output down. The control has to have the resolution: scattered
holes harm a network more than one large hole, wherever they are.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks import harness
from jaxlens import Model, attribution, modelzoo
from jaxlens.attribution import Attribution, grad_cam, metrics
from jaxlens.model._controls import parameter_groups

SIGNS = {"deletion": -1, "insertion": 1, "road": 1}  # what is good: low or high
ROAD = (0.1, 0.3, 0.5, 0.7, 0.9)
Method = Callable[..., Attribution]


def methods(steps: int) -> dict[str, Method]:
    """Return the methods to compare. Each gives a map in which large values are important."""

    def absolute(method: Method, **options: Any) -> Method:
        def run(model: Model, images: jax.Array, target: Any = None) -> Attribution:
            found = method(model, images, target, **options)
            return found.replace(values=jnp.abs(found.values).sum(-1, keepdims=True))

        return run

    quiet = {"progress": False, "tolerance": None}
    return {
        "Grad-CAM": grad_cam,
        "integrated gradients": absolute(attribution.integrated_gradients, steps=steps, **quiet),
        "saliency": absolute(attribution.saliency),
        "guided backpropagation": absolute(attribution.guided_backprop),
    }


def noise(shape: tuple[int, ...], first: int) -> jax.Array:
    """Return random maps, the control. Each photograph has its own."""
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(1), i))(first + jnp.arange(shape[0]))
    return jax.vmap(lambda key: jax.random.uniform(key, (*shape[1:3], 1)))(keys)


def judged(model: Model, images: jax.Array, values: Any, target: Any, steps: int) -> dict[str, np.ndarray]:
    """Return the three metrics of the maps of photographs."""
    blur = metrics.blurred(images, 5 * images.shape[1] / 224)  # Petsiuk et al. 2018
    options = {"steps": steps, "progress": False}
    areas = {
        "deletion": metrics.deletion(model, images, values, target, **options).area,
        "insertion": metrics.insertion(model, images, values, target, baseline=blur, **options).area,
        "road": metrics.road(model, images, values, target, fractions=ROAD, progress=False).area,
    }
    return {name: np.asarray(area) for name, area in areas.items()}


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided p-value of wins and losses under a fair coin; ties count for neither."""
    n, extreme = wins + losses, max(wins, losses)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(extreme, n + 1)) / 2**n)


def photographs(folder: Path, count: int, size: int) -> jax.Array:
    """Return central squares of `count` photographs of the folder, `[N, size, size, 3]`."""
    paths = sorted(folder.glob("*.jpg"))
    if not paths:
        raise click.UsageError(f"{folder} holds no .jpg files.")
    images = []
    for index in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int):
        with Image.open(paths[index]) as image:
            rgb, (w, h) = image.convert("RGB"), image.size
        side = round(min(w, h) * 224 / 256)  # torchvision's: the central 224 of 256 pixels
        box = ((w - side) // 2, (h - side) // 2, (w + side) // 2, (h + side) // 2)
        images.append(np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR, box=box), np.float32) / 255)
    return jnp.asarray(np.stack(images))


def mean(values: np.ndarray) -> tuple[float, float]:
    """Return the mean and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def blocks(model: Model) -> list[str]:
    """Return the blocks to randomize in turn, from the output to the input."""
    return list(dict.fromkeys(".".join(layer.split(".")[:2]) for layer in parameter_groups(model, None)))


@click.command()
@click.option("--network", default="squeezenet1_1", show_default=True)
@click.option("--weights", default="DEFAULT", show_default=True, help="A file, or the name of published weights.")
@click.option("--photographs", "folder", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--count", default=177, show_default=True, help="Photographs.")
@click.option("--size", default=224, show_default=True, help="Their side in pixels.")
@click.option("--steps", default=20, show_default=True, help="Points of each curve; integrated gradients take as many.")
@click.option("--batch", default=16, show_default=True, help="Photographs at once.")
@click.option("--randomised", default=8, show_default=True, help="Photographs for the randomisation.")
def main(
    network: str,
    weights: str,
    folder: Path,
    count: int,
    size: int,
    steps: int,
    batch: int,
    randomised: int,
) -> None:
    """Print a table and write a record."""
    model = modelzoo.load(network, weights)
    images = photographs(folder, count, size)
    contestants, control_of = methods(steps), {}
    parts: dict[str, list[dict[str, np.ndarray]]] = {}
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        top = jnp.argmax(model(some), -1)
        controls = {}
        for name, method in contestants.items():
            values = method(model, some, top).values
            control = control_of[name] = f"random {values.shape[1]} x {values.shape[2]}"
            controls[control] = noise(values.shape, start)
            parts.setdefault(name, []).append(judged(model, some, values, top, steps))
        for name, values in controls.items():
            parts.setdefault(name, []).append(judged(model, some, values, top, steps))
        print(f"{start + len(some)} of {len(images)} photographs", flush=True)
    areas = {name: {what: np.concatenate([part[what] for part in each]) for what in SIGNS} for name, each in parts.items()}

    rows: list[dict[str, Any]] = []
    for name, each in areas.items():
        row: dict[str, Any] = {"method": name, "control": control_of.get(name)}
        for what, sign in SIGNS.items():
            row[what], row[f"{what} standard error"] = mean(each[what])
            if name in control_of:
                better = sign * (each[what] - areas[control_of[name]][what])
                wins, losses = int((better > 0).sum()), int((better < 0).sum())
                row |= {f"{what} wins": wins / len(images), f"{what} p": sign_test(wins, losses)}
        rows.append(row)
    _randomise(model, images[:randomised], contestants, rows)
    _print(rows)
    settings = {"network": network, "photographs": len(images), "size": size, "steps": steps, "randomised": randomised}
    print(harness.record(f"faithfulness_{jax.devices()[0].platform}", rows, **settings))


def _randomise(model: Model, images: jax.Array, contestants: dict[str, Method], rows: list[dict[str, Any]]) -> None:
    """Add to each row what is left of the map after each step of a cascade."""
    for row in rows:
        if row["control"]:
            left = metrics.model_randomization(contestants[row["method"]], model, images, layers=blocks(model), progress=False)
            row["similarity"] = {
                layer: mean(np.asarray(each)) for layer, each in zip(left.layers, left.similarity, strict=True)
            }


def _print(rows: list[dict[str, Any]]) -> None:
    heads = [f"{what} ({'high' if sign > 0 else 'low'} is good)" for what, sign in SIGNS.items()]
    print(f"{'':24}" + "".join(f"{head:^38}" for head in heads))
    print(f"{'':24}" + len(SIGNS) * f"{'mean ± s.e.':>17}{'wins':>8}{'p':>10}   ")
    for row in rows:
        print(f"{row['method']:24}", end="")
        for what in SIGNS:
            print(f"{row[what]:>8.4f} ± {row[f'{what} standard error']:.4f}", end="")
            print(f"{row[f'{what} wins']:>8.0%}{row[f'{what} p']:>10.2g}   " if row["control"] else f"{'':21}", end="")
        print()
    print("\nRank correlation with the map of the network as it was, when it is randomised from the output down to:")
    compared = [row for row in rows if "similarity" in row]
    print(f"{'':24}" + "".join(f"{row['method']:>24}" for row in compared))
    for layer in compared[0]["similarity"]:
        print(f"{layer:24}" + "".join(f"{row['similarity'][layer][0]:>24.2f}" for row in compared))


if __name__ == "__main__":
    main()
