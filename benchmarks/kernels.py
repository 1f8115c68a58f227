"""Our kernels against XLA's own operators and PyTorch: `python -m benchmarks.kernels`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torchvision
from jax import lax

from benchmarks import harness
from converters import convert
from jaxlens import _kernels, modelzoo
from jaxlens.model import Preprocess
from jaxlens.model._run import run
from jaxlens.training._conv import conv_general_dilated

POOLED = ((1, 111, 111, 64), (8, 111, 111, 64), (8, 55, 55, 128))  # SqueezeNet's 3x3 pools of stride 2
DEPTHWISE = (
    (1, 112, 112, 32, 3),
    (8, 28, 28, 192, 3),
    (1, 56, 56, 96, 7),
)  # of MobileNetV2 and ConvNeXt; last: side of the kernel
NORMALISED = ((1, 56, 56, 64), (8, 56, 56, 192))  # InceptionV1's
BODY = ((1, 128, 128, 3), (8, 128, 128, 3))  # images for SqueezeNet
CONVOLVED = ((71, 32, 32, 16, 48), (71, 16, 16, 48, 80), (71, 8, 8, 56, 104))  # lensnet's 3x3 convolutions, in training
NHWC = ("NHWC", "HWIO", "NHWC")


def reduce_window(x: jax.Array) -> jax.Array:
    """Return XLA's own max-pool."""
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")


def pool_gradient(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Return value and gradient of a ReLU and a pool."""
    x, tensor = _inputs(shape)
    pools = {
        "jaxlens": lambda x: _kernels.max_pool(x, window=(3, 3), stride=(2, 2), pads=((0, 0), (0, 0))),
        "xla": reduce_window,
    }
    tensor.requires_grad_()
    return _input_gradients({name: lambda x, f=f: f(jax.nn.relu(x)) for name, f in pools.items()}, x) | {
        "torch": lambda: torch.autograd.grad((torch.nn.functional.max_pool2d(torch.relu(tensor), 3, 2) ** 2).sum(), tensor)
    }


def depthwise_gradient(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Return value and input gradient of a depthwise convolution."""
    *size, side = shape
    x, tensor = _inputs(tuple(size))
    channels, pads = size[-1], ((side // 2, side // 2), (side // 2, side // 2))
    kernel, weight = jnp.full((side, side, 1, channels), 0.1), torch.full((channels, 1, side, side), 0.1)
    convs = {
        "jaxlens": lambda x: _kernels.conv(x, kernel, stride=(1, 1), pads=pads, groups=channels),
        "xla": lambda x: lax.conv_general_dilated(
            x, kernel, (1, 1), pads, feature_group_count=channels, dimension_numbers=NHWC
        ),
    }
    tensor.requires_grad_()
    return _input_gradients(convs, x) | {
        "torch": lambda: torch.autograd.grad(
            (torch.nn.functional.conv2d(tensor, weight, padding=side // 2, groups=channels) ** 2).sum(), tensor
        )
    }


def response_norm_gradient(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Return value and gradient of InceptionV1's response norm; "xla" uses a band matrix."""
    x, tensor = _inputs(shape)
    near = jnp.asarray(np.abs(np.subtract.outer(*[np.arange(shape[-1])] * 2)) <= 5, jnp.float32)
    norms = {
        "jaxlens": lambda x: _kernels.local_response_norm(x, radius=5, bias=1.0, alpha=1e-4, beta=0.75),
        "xla": lambda x: x * (1 + 1e-4 * jnp.einsum("...c,cd->...d", x * x, near)) ** -0.75,
    }
    tensor.requires_grad_()
    return _input_gradients(norms, x) | {
        "torch": lambda: torch.autograd.grad(
            (torch.nn.functional.local_response_norm(tensor, 11, 11e-4, 0.75, 1.0) ** 2).sum(), tensor
        )
    }


def body_gradient(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Return the input gradient of SqueezeNet up to features.12. There is no "xla" variant."""
    torch.manual_seed(0)
    net = torchvision.models.squeezenet1_1().eval().requires_grad_(False)
    model = modelzoo.load("squeezenet1_1", weights=None)
    model = model.replace(params=convert(net.state_dict(), model), preprocess=Preprocess())
    x, tensor = _inputs(shape)
    body, tensor = net.features.to(memory_format=torch.channels_last), tensor.requires_grad_()

    @jax.jit
    def gradient(model: Any, x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: (run(model, x, ("features.12",))["features.12"] ** 2).sum())(x)

    return {
        "jaxlens": lambda: jax.block_until_ready(gradient(model, x)),
        "torch": lambda: torch.autograd.grad((body(tensor) ** 2).sum(), tensor),
    }


def _input_gradients(functions: dict[str, Callable[..., Any]], x: jax.Array) -> dict[str, Callable[[], Any]]:
    gradients = {name: jax.jit(jax.grad(lambda x, f=f: (f(x) ** 2).sum())) for name, f in functions.items()}
    return {name: lambda g=g: jax.block_until_ready(g(x)) for name, g in gradients.items()}


def weight_gradient(shape: tuple[int, ...]) -> dict[str, Callable[[], Any]]:
    """Return value and weight gradient of a 3x3 convolution."""
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
    """Measure each kernel in turn, on shapes of the networks that need it."""
    rows = []
    for build, shapes in (
        (pool_gradient, POOLED),
        (depthwise_gradient, DEPTHWISE),
        (response_norm_gradient, NORMALISED),
        (weight_gradient, CONVOLVED),
        (body_gradient, BODY),
    ):
        for shape in shapes:
            times = harness.compare(build(shape), 15)
            rows.append({"kernel": build.__name__, "shape": shape} | {name: 1e3 * t["median"] for name, t in times.items()})
            print(
                build.__name__, shape, ", ".join(f"{name} {1e3 * t['median']:.1f} ms" for name, t in times.items()), flush=True
            )
    print(harness.record(f"kernels_{jax.devices()[0].platform}", rows))


if __name__ == "__main__":
    main()
