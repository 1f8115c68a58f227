"""Our kernels against XLA's own operators and PyTorch: `python -m benchmarks.kernels`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax

from benchmarks import harness
from jaxlens import _kernels
from jaxlens.training._conv import conv_general_dilated

POOLED = ((1, 111, 111, 64), (8, 111, 111, 64), (8, 55, 55, 128))  # SqueezeNet's 3x3 pools of stride 2
CONVOLVED = ((71, 32, 32, 16, 48), (71, 16, 16, 48, 80), (71, 8, 8, 56, 104))  # lensnet's 3x3 convolutions, in training
NHWC = ("NHWC", "HWIO", "NHWC")


def reduce_window(x: jax.Array) -> jax.Array:
    """XLA's own max-pool."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")


def pool_gradient(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Value and gradient of a ReLU and a pool."""
    x, tensor = _inputs(shape)
    pools = {
        "jaxlens": lambda x: _kernels.max_pool(x, window=(3, 3), stride=(2, 2), pads=((0, 0), (0, 0))),
        "xla": reduce_window,
    }
    gradients = {name: jax.jit(jax.grad(lambda x, f=f: (f(jax.nn.relu(x)) ** 2).sum())) for name, f in pools.items()}
    runs = {name: lambda g=g: jax.block_until_ready(g(x)) for name, g in gradients.items()}
    tensor.requires_grad_()
    return runs | {
        "torch": lambda: torch.autograd.grad((torch.nn.functional.max_pool2d(torch.relu(tensor), 3, 2) ** 2).sum(), tensor)
    }


def weight_gradient(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Value and weight gradient of a 3x3 convolution."""
    *size, cin, cout = shape
    x, tensor = _inputs((*size, cin))
    kernel, weight = jnp.full((3, 3, cin, cout), 0.1), torch.full((cout, cin, 3, 3), 0.1, requires_grad=True)

    def gradient(conv: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
        return jax.jit(jax.grad(lambda kernel, x: (conv(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC) ** 2).sum()))

    gradients = {"jaxlens": gradient(conv_general_dilated), "xla": gradient(lax.conv_general_dilated)}
    runs = {name: lambda g=g: jax.block_until_ready(g(kernel, x)) for name, g in gradients.items()}
    return runs | {
        "torch": lambda: torch.autograd.grad((torch.nn.functional.conv2d(tensor, weight, padding=1) ** 2).sum(), weight)
    }


def _inputs(shape: tuple[int, ...]) -> tuple[jax.Array, torch.Tensor]:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return jnp.asarray(x), torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(memory_format=torch.channels_last)


def main() -> None:
    """Measures each kernel on shapes of the networks that need it, in turn."""
    rows = []
    for build, shapes in ((pool_gradient, POOLED), (weight_gradient, CONVOLVED)):
        for shape in shapes:
            times = harness.compare(build(shape), 15)
            rows.append({"kernel": build.__name__, "shape": shape} | {name: 1e3 * t["median"] for name, t in times.items()})
            print(
                build.__name__, shape, ", ".join(f"{name} {1e3 * t['median']:.1f} ms" for name, t in times.items()), flush=True
            )
    print(harness.record(f"kernels_{jax.devices()[0].platform}", rows))


if __name__ == "__main__":
    main()
