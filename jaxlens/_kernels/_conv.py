"""Convolutions, channels last, over any number of spatial axes; kernels are `[*size, channels in / groups, channels out]`."""

from collections.abc import Sequence

import jax
from jax import lax

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
    axes, x = kernel.ndim - 2, x.astype(kernel.dtype)
    unpadded = isinstance(pads, str) or all(pad == (0, 0) for pad in pads)
    if all(n == 1 for n in kernel.shape[:axes]) and all(s == 1 for s in stride) and unpadded and groups == 1:
        return conv1x1(x, kernel)
    return lax.conv_general_dilated(
        x, kernel, tuple(stride), pads, rhs_dilation=dilation, feature_group_count=groups, dimension_numbers=_layout(axes)
    )


def conv1x1(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A stride-1 1x1 convolution as a matrix product, 2-3 times faster on a CPU."""
    return lax.dot_general(x, kernel.reshape(kernel.shape[-2:]), (((x.ndim - 1,), (0,)), ((), ())))


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
