"""Imported networks against the zoo's own: `python -m benchmarks.importer`.

It times the forward pass and the gradient of the image.
"""

from collections.abc import Callable
from typing import Any

import click
import jax
import jax.numpy as jnp

from benchmarks import harness
from converters import from_torch
from jaxlens.model import Model
from tools import parity_table

NAMES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5",
    "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_32",
)  # fmt: skip


def runs(model: Model, images: jax.Array) -> dict[str, Callable[[], Any]]:
    """Return the jitted forward pass and input gradient of a model. The weights are arguments."""
    forward = jax.jit(lambda model, images: model(images))
    gradient = jax.jit(jax.grad(lambda images, model: jnp.square(model(images)).sum()))
    return {
        "forward": lambda: jax.block_until_ready(forward(model, images)),
        "gradient": lambda: jax.block_until_ready(gradient(images, model)),
    }


@click.command()
@click.argument("names", nargs=-1)
@click.option("--repeats", default=15, show_default=True)
@click.option("--batch", default=2, show_default=True, help="Images at once.")
def main(names: tuple[str, ...], repeats: int, batch: int) -> None:
    """Measure each network (all families by default) in both forms, with equal weights."""
    rows: list[dict[str, Any]] = []
    for name in names or NAMES:
        module, model = parity_table.pair(name, size=(128, 160))
        images = jax.random.uniform(jax.random.key(0), (batch, *model.input_size, 3))
        imported = from_torch(module, model.input_size, preprocess=model.preprocess, check=False)
        models = {"zoo": model, "imported": imported}
        contestants = {f"{kind} {what}": run for kind, each in models.items() for what, run in runs(each, images).items()}
        times = harness.compare(contestants, repeats)
        row: dict[str, Any] = {"network": name, "size": model.input_size, "batch": batch}
        for what in ("forward", "gradient"):
            ours, theirs = (1e3 * times[f"{kind} {what}"]["median"] for kind in models)
            row |= {f"{what} zoo ms": ours, f"{what} imported ms": theirs, f"{what} ratio": theirs / ours}
        rows.append(row)
        if not names:  # what is done is on file, whenever the command is stopped
            harness.record(f"importer_{jax.devices()[0].platform}", rows, repeats=repeats)
        print(f"{name}: forward {row['forward ratio']:.2f}x, gradient {row['gradient ratio']:.2f}x", flush=True)
        jax.clear_caches()
    worst = max(rows, key=lambda row: max(row["forward ratio"], row["gradient ratio"]))
    print(f"largest ratio: {worst['network']}, {max(worst['forward ratio'], worst['gradient ratio']):.2f}")


if __name__ == "__main__":
    main()
