"""Convolutions, channels last, over any number of spatial axes; kernels are `[*size, channels in / groups, channels out]`."""

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
    """PyTorch's convolution (a correlation); `pads="SAME"` is TensorFlow's, asymmetric."""
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
    """A stride-1 1x1 convolution as a matrix product, 2-3 times faster on a CPU."""
    return lax.dot_general(x, kernel.reshape(kernel.shape[-2:]), (((x.ndim - 1,), (0,)), ((), ())))


def depthwise_conv(
    x: jax.Array, kernel: jax.Array, *, stride: Sequence[int], pads: Pads, dilation: Sequence[int] = (1, 1)
) -> jax.Array:
    """A convolution of each channel with its own kernel `[kh, kw, 1, C]`, as a sum of shifted products.

    XLA's own takes 7 to 19 times as long on a CPU, value and gradient: see `python -m benchmarks.kernels`.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))
    views = shifts(x, kernel.shape[:2], stride, dilation)
    weights = kernel.reshape(len(views), 1, 1, 1, -1).astype(wide)
    return functools.reduce(jnp.add, [view * weights[i] for i, view in enumerate(views)]).astype(x.dtype)


def shifts(x: jax.Array, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1, 1)) -> list[jax.Array]:
    """The input as each position of the window sees it: one strided view for each."""
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
    """PyTorch's transposed convolution: the gradient of a convolution with respect to its input.

    The kernel is `[*size, channels in / groups, channels out]`, its outputs in order of the groups, and is flipped here.
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
