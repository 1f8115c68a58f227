"""The share of the machine's arithmetic limit that rendering reaches.

`python -m benchmarks.roofline [NETWORK ...] [--batch 16] [--dtype float32] [--product 2048]`

Per layer: the operations that its value and its image gradient need (`flops.needed`: convolutions
and matrix products, counted by hand; XLA's count of the step stands beside it as a check), times
neurons and steps, over the seconds of `render`, over the limit. The limit is what a large matrix
product reaches in the same run, in the precision that the network computes in: for float32 that of
JAX's default, which on a GPU is TF32.
"""

import functools
from typing import Any

import click
import jax
import jax.numpy as jnp

from benchmarks import _lucent, flops, harness
from benchmarks.render_vs_torch import CASES
from jaxlens.optvis import objectives
from jaxlens.optvis.render import render

DTYPES = {"cpu": ("float32",), "gpu": ("float32", "bfloat16")}
PRODUCT = {"cpu": 2048, "gpu": 8192}  # seconds on a CPU, milliseconds on a GPU, either way far from memory's limit
TIMES = {"cpu": 1, "gpu": 20}  # products in a row, so that starting them is not what is timed


@functools.partial(jax.jit, static_argnames=("times", "precision"))
def products(a: jax.Array, b: jax.Array, times: int, precision: str) -> jax.Array:
    """Return `a @ b @ b ...`, scaled so that nothing overflows."""

    def once(_: int, a: jax.Array) -> jax.Array:
        return jnp.dot(a, b, precision=precision).astype(a.dtype)

    return jax.lax.fori_loop(0, times, once, a)


def limits(side: int, repeats: int, on: str) -> dict[str, dict[str, float]]:
    """Measure the operations per second of a product of random square matrices, by precision."""
    kinds = {"float32": ("float32", "default"), "float32 highest": ("float32", "highest")}
    kinds |= {"bfloat16": ("bfloat16", "default")} if on == "gpu" else {}
    found = {}
    for kind, (dtype, precision) in kinds.items():
        a = jax.random.normal(jax.random.key(0), (side, side), dtype)
        b = jax.random.normal(jax.random.key(1), (side, side), dtype) * jnp.asarray(side**-0.5, dtype)
        run = functools.partial(products, a, b, TIMES[on], precision)
        seconds = harness.compare({kind: lambda run=run: jax.block_until_ready(run())}, repeats)[kind]
        count = 2 * side**3 * TIMES[on]
        found[kind] = {"median": count / seconds["median"], "low": count / seconds["high"], "high": count / seconds["low"]}
        print(f"limit, {kind}: {found[kind]['median'] / 1e9:.1f} GFLOP/s", flush=True)
    return found


def measure(name: str, dtype: str, limit: float, options: dict[str, Any]) -> dict[str, Any]:
    """Measure the row of a network."""
    case, (_, model), batch, steps = CASES[name], _lucent.pair(name), options["batch"], options["steps"]
    seen = options["seen"] or case.seen
    neurons = objectives.channel(case.layer, range(batch))
    given: dict[str, Any] = {"size": options["size"], "fixed_image_size": seen, "progress": False, "redirect_steps": 0}
    given |= {} if dtype == "float32" else {"compute_dtype": dtype}
    need = flops.needed(model, case.layer, (seen, seen))
    own_count = flops.counted(flops.lowered(lambda: render(model, neurons, steps=1, batch_size=batch, **given)))
    seconds = harness.compare({"render": lambda: render(model, neurons, steps=steps, **given)}, options["repeats"])["render"]
    rates = {key: need * batch * steps / seconds[key] for key in ("median", "low", "high")}
    return {
        "network": name,
        "layer": case.layer,
        "batch": batch,
        "dtype": dtype,
        "gflop": need / 1e9,
        "xla_gflop": own_count and own_count / batch / 1e9,
        "gflops": rates["median"] / 1e9,
        "low_gflops": rates["high"] / 1e9,
        "high_gflops": rates["low"] / 1e9,
        "fraction": rates["median"] / limit,
    }


@click.command()
@click.argument("networks", nargs=-1, metavar="[NETWORK]...")
@click.option("--batch", type=int, help="Neurons in a call.  [default: 4, on a GPU 64]")
@click.option("--size", default=128, show_default=True)
@click.option("--seen", type=int, help="Side at which the network sees the images.  [default: 224, lensnet 128]")
@click.option("--steps", type=int, help="[default: 24, on a GPU 256]")
@click.option("--repeats", default=5, show_default=True)
@click.option("--dtype", "dtypes", multiple=True, help="[default: float32; on a GPU bfloat16 too]")
@click.option("--product", type=int, help="Side of the matrices.  [default: 2048, on a GPU 8192]")
def main(networks: tuple[str, ...], dtypes: tuple[str, ...], product: int | None, **options: Any) -> None:
    """Measure the limits, then each network, and write the record after each."""
    on, rows = harness.backend(), []
    options["batch"] = options["batch"] or (64 if on == "gpu" else 4)
    options["steps"] = options["steps"] or (256 if on == "gpu" else 24)
    side = product or PRODUCT[on]
    found = limits(side, options["repeats"], on)
    for name in networks or ("inceptionv1", "squeezenet1_1", "lensnet"):
        for dtype in dtypes or DTYPES[on]:
            rows.append(measure(name, dtype, found.get(dtype, found["float32"])["median"], options))
            row = rows[-1]
            check = f" (XLA counts {row['xla_gflop']:.2f})" if row["xla_gflop"] else ""
            print(
                f"{name} {dtype} batch {row['batch']}: {row['gflop']:.2f} GFLOP per neuron and step{check}, "
                f"{row['gflops']:.1f} GFLOP/s, {100 * row['fraction']:.1f} % of the limit",
                flush=True,
            )
            print(harness.record(f"roofline_{on}", rows, limits=found, product=side, **options))


if __name__ == "__main__":
    main()
