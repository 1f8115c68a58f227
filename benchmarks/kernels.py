"""Max-pool and its gradient against `lax.reduce_window` and PyTorch: `python -m benchmarks.kernels`."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax

from benchmarks import harness
from jaxlens.modelzoo import _kernels

SHAPES = ((1, 111, 111, 64), (8, 111, 111, 64), (8, 55, 55, 128))  # SqueezeNet's 3x3 pools of stride 2


def reduce_window(x: jax.Array) -> jax.Array:
    """XLA's own max-pool."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")


def main() -> None:
    """Value and gradient of a ReLU and a pool, in turn."""
    rows = []
    for shape in SHAPES:
        x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        tensor = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(memory_format=torch.channels_last).requires_grad_()
        pools = {
            "jaxlens": lambda x: _kernels.max_pool(x, window=3, stride=2, pads=((0, 0), (0, 0))),
            "reduce_window": reduce_window,
        }
        gradients = {name: jax.jit(jax.grad(lambda x, f=f: (f(jax.nn.relu(x)) ** 2).sum())) for name, f in pools.items()}
        array = jnp.asarray(x)
        runs = {name: lambda g=g, x=array: jax.block_until_ready(g(x)) for name, g in gradients.items()}
        runs["torch"] = lambda tensor=tensor: torch.autograd.grad(
            (torch.nn.functional.max_pool2d(torch.relu(tensor), 3, 2) ** 2).sum(), tensor
        )
        times = harness.compare(runs, 15)
        rows.append({"shape": shape} | {name: 1e3 * t["median"] for name, t in times.items()})
        print(shape, ", ".join(f"{name} {1e3 * t['median']:.1f} ms" for name, t in times.items()), flush=True)
    print(harness.record(f"kernels_{jax.devices()[0].platform}", rows))


if __name__ == "__main__":
    main()
