"""The cost of the gradient check of imports, and its false alarms.

`python -m benchmarks.gradient_check`

All of torchvision's classifiers, with random weights and statistics; the networks of the importer's
tests; six of timm's.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import jax
import jax.numpy as jnp

from benchmarks import harness
from converters import _compare, from_torch
from converters._inputs import ours, random_images
from jaxlens import modelzoo
from jaxlens.model import Preprocess
from jaxlens.modelzoo._registry import find
from tests.converters import nets
from tools import parity_table

TIMM: dict[str, dict[str, Any]] = {
    "resnet10t": {},
    "convnext_atto": {},
    "mobilenetv3_small_050": {},
    "nf_regnet_b0": {},
    "vit_tiny_patch16_224": {"img_size": (48, 64)},
    "mixer_s32_224": {"img_size": (64, 96)},
}
Build = Callable[[], tuple[Any, tuple[int, int]]]


def networks() -> Iterator[tuple[str, Build]]:
    """Return every network by name, small ones first, with its builder and its image size."""
    for cls in nets.IDIOMS:
        yield cls.__name__, lambda cls=cls: (cls().eval(), (33, 47))
    for name, options in TIMM.items():
        yield f"timm {name}", lambda name=name, options=options: _timm(name, options)
    names = [name for name in modelzoo.names() if not find(name).weights[0].bundled and name != "inceptionv1"]
    for name in sorted(names, key=lambda name: find(name).parameters):
        yield name, lambda name=name: _torchvision(name)


def _timm(name: str, options: dict[str, Any]) -> tuple[Any, tuple[int, int]]:
    import timm

    return timm.create_model(name, pretrained=False, **options).eval(), options.get("img_size", (64, 96))


def _torchvision(name: str) -> tuple[Any, tuple[int, int]]:
    fixed = "image_size" in find(name).options
    size = (224, 224) if fixed else (75, 96) if name == "inception_v3" else (64, 96)
    return parity_table.reference(name, **({"image_size": 224} if fixed else {})), size


def measured(name: str, build: Build) -> dict[str, Any]:
    """Return the seconds of an import and of its checks, with and without gradients."""
    module, size = build()
    start = time.perf_counter()
    model = from_torch(module, size, preprocess=Preprocess(), check=False)
    imported = time.perf_counter()
    params = {key: jnp.asarray(value) for key, value in model.params.items()}
    (inputs,) = (ours(x) for x in next(random_images(module, size)))
    _compare.compare(module, model.forward, params, inputs)
    values = time.perf_counter()
    rows, wrong, moves = _compare.compare_gradients(module, model.forward, params, inputs)
    done = time.perf_counter()
    return {
        "network": name,
        "gradient error": wrong,
        "values error": max(row.error for row in rows),
        "moves": moves,
        "import s": imported - start,
        "values s": values - imported,
        "with gradient s": done - values,
    }


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Check every network, or those named, and print the alarms and the cost of the gradients."""
    rows: list[dict[str, Any]] = []
    for name, build in networks():
        if names and name not in names:
            continue
        rows.append(row := measured(name, build))
        if not names:
            harness.record(f"gradient_check_{harness.backend()}", rows)
        cost = row["with gradient s"] - row["values s"]
        print(f"{name}: gradient {row['gradient error']:.1e}, values {row['values error']:.1e}, {cost:+.1f} s", flush=True)
        jax.clear_caches()
    alarms = [row["network"] for row in rows if not row["gradient error"] <= _compare.GRADIENT_TOLERANCE]
    values, both = (sum(row[key] for row in rows) for key in ("values s", "with gradient s"))
    print(
        f"{len(rows)} networks, {len(alarms)} false alarms {' '.join(alarms)}: "
        f"{both:.0f} s, of which gradients {both - values:.0f} s"
    )
    raise SystemExit(bool(alarms))


if __name__ == "__main__":
    main()
