"""Convolutions whose weight gradient is fast on a CPU."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def conv_general_dilated(
    lhs: jax.Array, rhs: jax.Array, window_strides: Any, padding: Any, *, dimension_numbers: Any = None, **options: Any
) -> jax.Array:
    """`lax.conv_general_dilated` for `nnx.Conv`, with a faster weight gradient of plain 2-D ones.

    The gradient of one tap of the kernel is the product of two matrices: the input as that tap
    sees it, and the gradient of the output. XLA's own is a convolution with a window as large as
    the map, and takes up to four times longer on a CPU (`python -m benchmarks.kernels`). The
    values are the same.
    """
    precision = options.pop("precision", None)
    plain = all(_default(value) for value in options.values())
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    nhwc = (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec) == ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    if not nhwc or not plain:
        options |= {"dimension_numbers": dimension_numbers, "precision": precision}
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **options)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
    return _conv(lhs, rhs, tuple(window_strides), tuple(map(tuple, padding)), precision)


def _default(value: Any) -> bool:
    """Whether the value of an option means: not dilated, not grouped, not sharded."""
    return value is None or value == 1 or (isinstance(value, tuple | list) and set(value) <= {1})


_NHWC = ("NHWC", "HWIO", "NHWC")


def _plain(x: jax.Array, kernel: jax.Array, strides: Any, pads: Any, precision: Any) -> jax.Array:
    if kernel.shape[:2] == (1, 1) and strides == (1, 1) and pads == ((0, 0), (0, 0)):
        return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())), precision=precision)
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=_NHWC, precision=precision)


_conv = jax.custom_vjp(_plain, nondiff_argnums=(2, 3, 4))


def _forward(x: jax.Array, kernel: jax.Array, strides: Any, pads: Any, precision: Any) -> Any:
    return _plain(x, kernel, strides, pads, precision), (x, kernel)


def _backward(strides: Any, pads: Any, precision: Any, kept: Any, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    (dx,) = jax.linear_transpose(lambda x: _plain(x, kernel, strides, pads, precision), x)(g)
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    (high, wide), (down, right) = g.shape[1:3], strides
    flat = g.reshape(-1, g.shape[3])

    def tap(i: int, j: int) -> jax.Array:
        seen = padded[:, i : i + (high - 1) * down + 1 : down, j : j + (wide - 1) * right + 1 : right]
        return lax.dot_general(seen.reshape(-1, x.shape[3]), flat, (((0,), (0,)), ((), ())), precision=precision)

    rows, columns = kernel.shape[:2]
    return dx, jnp.stack([jnp.stack([tap(i, j) for j in range(columns)]) for i in range(rows)]).astype(kernel.dtype)


_conv.defvjp(_forward, _backward)
