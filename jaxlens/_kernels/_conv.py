"""Convolutions, channels last, over any number of spatial axes.

Kernels are `[*size, channels in / groups, channels out]`.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxlens._program import operators_wanted

Pads = Sequence[tuple[int, int]]


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: Sequence[int],
    pads: Pads | str,
    dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> jax.Array:
    """Apply PyTorch's convolution (a correlation); `pads="SAME"` pads as TensorFlow, asymmetric."""
    axes, x, dilation = kernel.ndim - 2, x.astype(kernel.dtype), dilation or (1,) * (kernel.ndim - 2)
    unpadded = isinstance(pads, str) or all(pad == (0, 0) for pad in pads)
    if all(n == 1 for n in kernel.shape[:axes]) and all(s == 1 for s in stride) and unpadded and groups == 1:
        return conv1x1(x, kernel)
    depthwise = axes == 2 and groups == x.shape[-1] == kernel.shape[-1] > 1
    if depthwise and not isinstance(pads, str) and jax.default_backend() == "cpu" and not operators_wanted():
        return depthwise_conv(x, kernel, stride=stride, pads=pads, dilation=dilation)
    return lax.conv_general_dilated(
        x, kernel, tuple(stride), pads, rhs_dilation=dilation, feature_group_count=groups, dimension_numbers=_layout(axes)
    )


def conv1x1(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Apply a 1x1 convolution of stride 1 as a matrix product: 2-3 times faster on a CPU."""
    return lax.dot_general(x, kernel.reshape(kernel.shape[-2:]), (((x.ndim - 1,), (0,)), ((), ())))


def depthwise_conv(
    x: jax.Array, kernel: jax.Array, *, stride: Sequence[int], pads: Pads, dilation: Sequence[int] = (1, 1)
) -> jax.Array:
    """Convolve each channel with its own kernel `[kh, kw, 1, C]`, as a sum of shifted products.

    XLA's own operator takes 7 to 19 times as long on a CPU, for value and gradient: see
    `python -m benchmarks.kernels`.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))
    views = shifts(x, kernel.shape[:2], stride, dilation)
    weights = kernel.reshape(len(views), 1, 1, 1, -1).astype(wide)
    return functools.reduce(jnp.add, [view * weights[i] for i, view in enumerate(views)]).astype(x.dtype)


def shifts(x: jax.Array, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1)) -> list[jax.Array]:
    """Return the input as each position of the window sees it: one strided view per position."""
    b, h, w, c = x.shape
    spans = zip((h, w), window, stride, dilation, strict=True)
    rows, columns = ((n - d * (k - 1) - 1) // s * s + 1 for n, k, s, d in spans)
    return [
        lax.slice(x, (0, i, j, 0), (b, i + rows, j + columns, c), (1, *stride, 1))
        for i in range(0, window[0] * dilation[0], dilation[0])
        for j in range(0, window[1] * dilation[1], dilation[1])
    ]


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    dilation: Sequence[int],
    groups: int = 1,
) -> jax.Array:
    """Apply PyTorch's transposed convolution: the gradient of a convolution for its input.

    The kernel is `[*size, channels in / groups, channels out]`, with outputs in the order of the
    groups. This function flips it.
    """
    axes = kernel.ndim - 2
    reach = [d * (k - 1) for d, k in zip(dilation, kernel.shape[:axes], strict=True)]
    pads = [(r - p, r - p + extra) for r, p, extra in zip(reach, padding, output_padding, strict=True)]
    return lax.conv_general_dilated(
        x,
        lax.rev(kernel, tuple(range(axes))),
        (1,) * axes,
        pads,
        lhs_dilation=tuple(stride),
        rhs_dilation=tuple(dilation),
        feature_group_count=groups,
        dimension_numbers=_layout(axes),
    )


def _layout(axes: int) -> tuple[str, str, str]:
    space = "DHW"[-axes:]
    return f"N{space}C", f"{space}IO", f"N{space}C"
