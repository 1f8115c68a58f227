"""Pools, channels last: exact in value and gradient, and faster than XLA's own on a CPU."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlens._kernels._conv import shifts
from jaxlens._program import Window, largest_and_place, operators_wanted, plain_gradient

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


def pooled_pads(size: Pair, window: Pair, stride: Pair, padding: Pair, ceil_mode: bool, dilation: Pair = (1, 1)) -> Pads:
    """Return PyTorch's padding for a pool, with what `ceil_mode` adds on the far side."""
    pads = []
    for n, k, s, p, d in zip(size, window, stride, padding, dilation, strict=True):
        reach = d * (k - 1) + 1
        out = (math.ceil if ceil_mode else math.floor)((n + 2 * p - reach) / s) + 1
        if ceil_mode and (out - 1) * s >= n + p:
            out -= 1  # the last window must start inside the image or its near padding
        pads.append((p, (out - 1) * s + reach - n - p))
    return pads[0], pads[1]


def same_pads(size: Pair, window: Pair, stride: Pair) -> Pads:
    """Return TensorFlow's SAME padding: asymmetric, with the odd pixel on the far side."""
    pads = []
    for n, k, s in zip(size, window, stride, strict=True):
        total = max((math.ceil(n / s) - 1) * s + k - n, 0)
        pads.append((total // 2, total - total // 2))
    return pads[0], pads[1]


def _padded(x: jax.Array, pads: Pads, value: float) -> jax.Array:
    """Pad, or crop where a pad is negative (a pool in floor mode ignores the far edge)."""
    return lax.pad(x, jnp.asarray(value, x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))


def max_pool(x: jax.Array, *, window: Pair, stride: Pair, pads: Pads, dilation: Pair = (1, 1)) -> jax.Array:
    """Max-pool and keep the place of each maximum, so that the gradient is a sum of shifted copies.

    The gradient of `lax.reduce_window` is a `select_and_scatter`, several times slower on a CPU:
    see `python -m benchmarks.kernels`. As in PyTorch, the first of equal maxima takes the
    gradient, and NaN wins. Gradient rules that change pools see XLA's operator instead.
    """
    if not operators_wanted():
        return _fast_max_pool(x, window=window, stride=stride, pads=pads, dilation=dilation)
    spread, padded = (1, *dilation, 1), _padded(x, pads, -jnp.inf)
    return lax.reduce_window(padded, -jnp.inf, lax.max, (1, *window, 1), (1, *stride, 1), "VALID", window_dilation=spread)


@functools.partial(plain_gradient, static_argnames=("window", "stride", "pads", "dilation"))
def _fast_max_pool(x: jax.Array, *, window: Pair, stride: Pair, pads: Pads, dilation: Pair) -> jax.Array:
    padded = _padded(x, pads, -jnp.inf)
    if dilation != (1, 1):  # rare
        return Window.sliding(window, stride, dilation).largest(padded)
    return _max_pool(padded, window, stride)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _max_pool(x: jax.Array, window: Pair, stride: Pair) -> jax.Array:
    return largest_and_place(shifts(x, window, stride))[0]


@_max_pool.defjvp
def _max_pool_jvp(window: Pair, stride: Pair, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """Sum shifted copies of the phases of the tangent.

    Output `a - d` sees pixel `stride * a + p` of the input at window position `stride * d + p`:
    for every phase p of the pixels and every d, this is a shifted copy of the phase. The
    transpose, which is the gradient, is a sum of slices with interleaved phases: no scatter, and
    no dilated copies.
    """
    (x,), (t,) = primals, tangents
    best, place = largest_and_place(shifts(x, window, stride))
    size, outs = x.shape[1:3], best.shape[1:3]
    high, wide = (-(-n // s) for n, s in zip(size, stride, strict=True))
    ahead = [(k - 1) // s for k, s in zip(window, stride, strict=True)]
    room = ((0, 0), (ahead[0], high - outs[0]), (ahead[1], wide - outs[1]), (0, 0))
    place = jnp.pad(place, room, constant_values=-1)
    t = jnp.pad(t, ((0, 0), (0, high * stride[0] - size[0]), (0, wide * stride[1] - size[1]), (0, 0)))
    rows = lax.split(t.reshape(t.shape[0], high, stride[0], wide, stride[1], -1), (1,) * stride[0], 2)
    phases = [[x.squeeze((2, 4)) for x in lax.split(row, (1,) * stride[1], 4)] for row in rows]

    def seen(i: int, j: int) -> jax.Array:
        down, right = ahead[0] - i // stride[0], ahead[1] - j // stride[1]
        here = place[:, down : down + high, right : right + wide] == window[1] * i + j
        taken = jnp.where(here, phases[i % stride[0]][j % stride[1]], 0)
        around = ((0, 0), (down, place.shape[1] - high - down), (right, place.shape[2] - wide - right), (0, 0))
        return jnp.pad(taken, around)

    total = functools.reduce(jnp.add, [seen(i, j) for i in range(window[0]) for j in range(window[1])])
    return best, total[:, ahead[0] : ahead[0] + outs[0], ahead[1] : ahead[1] + outs[1]]


def adaptive_max_pool(x: jax.Array, size: Sequence[int]) -> jax.Array:
    """Return maxima over PyTorch's adaptive bins.

    Bin i of an axis is `floor(i n / m) .. ceil((i + 1) n / m)`.
    The last axis goes first, so that the first of equal maxima, in PyTorch's order, takes the
    gradient.
    """
    for axis, m in reversed([*enumerate(size, 1)]):
        n, spans = x.shape[axis], _spans(x.shape[axis], m)
        if operators_wanted():
            bins = [lax.slice_in_dim(x, low, high, axis=axis) for low, high in spans]
            x = jnp.concatenate([Window.whole(each.shape, axis).reduced(each) for each in bins], axis)
            continue
        if n % m == 0:
            bins = x.reshape(*x.shape[:axis], m, n // m, *x.shape[axis + 1 :])
        else:  # the shorter bins have their last pixel twice
            low, high = np.asarray(spans).T
            places = np.minimum(low[:, None] + np.arange((high - low).max()), high[:, None] - 1)
            bins = jnp.take(x, places, axis)
        x = max_over(bins, axis + 1)
    return x


def max_over(x: jax.Array, axis: int) -> jax.Array:
    """Return the maximum over an axis; the first of equal ones takes the gradient, as in PyTorch.

    `jnp.max` shares the gradient between them.
    """
    if operators_wanted():
        return Window.whole(x.shape, axis).reduced(x).squeeze(axis)
    return _max_pool_over(x, axis=axis)


@functools.partial(plain_gradient, static_argnames=("axis",))
def _max_pool_over(x: jax.Array, *, axis: int) -> jax.Array:
    first = lax.broadcasted_iota(jnp.int32, x.shape, axis) == jnp.argmax(x, axis, keepdims=True)
    return jnp.where(first, x, 0).sum(axis)


def avg_pool(
    x: jax.Array, *, window: Pair, stride: Pair, pads: Pads, count: Pads | None = None, divisor: int | None = None
) -> jax.Array:
    """Return the average over each window.

    Args:
        x: `[B, H, W, C]`.
        window: the size of the windows.
        stride: the stride of the windows.
        pads: zeros around the image, from `pooled_pads`.
        count: how much of the padding the average counts as pixels; all of it by default. Zeros,
            `((0, 0), (0, 0))`, are PyTorch's `count_include_pad=False`. With `ceil_mode` PyTorch
            counts the padding of the arguments, but not what is added on the far side.
        divisor: the divisor of the sum instead (PyTorch's `divisor_override`).
    """
    total = _padded(x, pads, 0.0)
    for axis in (0, 1):  # sum over the rows of a window, then over its columns
        if total.shape[1 + axis] < window[axis] + stride[axis]:  # a single window, perhaps of a whole map
            total = lax.slice_in_dim(total, 0, window[axis], axis=1 + axis).sum(1 + axis, keepdims=True)
        else:
            line, step = ((n, 1) if axis == 0 else (1, n) for n in (window[axis], stride[axis]))
            total = functools.reduce(jnp.add, shifts(total, line, step))
    if divisor is not None or count is None or count == pads:
        return total / (divisor or window[0] * window[1])
    counted = []
    for n, k, s, (low, high), (a, b) in zip(x.shape[1:3], window, stride, pads, count, strict=True):
        starts = np.arange(0, n + low + high - k + 1, s) - low
        counted.append(np.minimum(starts + k, n + b) - np.maximum(starts, -a))
    return total / jnp.asarray(np.outer(*counted)[None, :, :, None], x.dtype)


def adaptive_avg_pool(x: jax.Array, size: Sequence[int]) -> jax.Array:
    """Return averages over PyTorch's adaptive bins, as two matrix products.

    Bin i of an axis is `floor(i n / m) .. ceil((i + 1) n / m)`.
    """
    if tuple(size) == (1, 1):
        return x.mean((1, 2), keepdims=True)
    if tuple(size) == x.shape[1:3]:
        return x
    weights = [jnp.asarray(_bins(n, m), x.dtype) for n, m in zip(x.shape[1:-1], size, strict=True)]
    if len(weights) != 2:
        for axis, bins in enumerate(weights, 1):
            x = jnp.moveaxis(jnp.tensordot(bins, x, ((1,), (axis,)), precision=lax.Precision.HIGHEST), 0, axis)
        return x
    rows, columns = weights
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns, precision=lax.Precision.HIGHEST)


def _bins(n: int, m: int) -> np.ndarray:
    weights = np.zeros((m, n), np.float32)
    for i, (low, high) in enumerate(_spans(n, m)):
        weights[i, low:high] = 1 / (high - low)
    return weights


def _spans(n: int, m: int) -> list[Pair]:
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
