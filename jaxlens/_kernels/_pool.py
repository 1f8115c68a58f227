"""Pools, channels last. XLA's own are slow on the CPU; these are exact in value and gradient."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlens._kernels._conv import shifts
from jaxlens.model._jaxpr import operators_wanted
from jaxlens.model.rules import plain_gradient

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]


def pooled_pads(size: Pair, window: Pair, stride: Pair, padding: Pair, ceil_mode: bool, dilation: Pair = (1, 1)) -> Pads:
    """PyTorch's padding for a pool, with the extra on the far side that `ceil_mode` needs."""
    pads = []
    for n, k, s, p, d in zip(size, window, stride, padding, dilation, strict=True):
        reach = d * (k - 1) + 1
        out = (math.ceil if ceil_mode else math.floor)((n + 2 * p - reach) / s) + 1
        if ceil_mode and (out - 1) * s >= n + p:
            out -= 1  # the last window must start inside the image or its near padding
        pads.append((p, (out - 1) * s + reach - n - p))
    return pads[0], pads[1]


def same_pads(size: Pair, window: Pair, stride: Pair) -> Pads:
    """TensorFlow's SAME padding: asymmetric, the odd pixel on the far side."""
    pads = []
    for n, k, s in zip(size, window, stride, strict=True):
        total = max((math.ceil(n / s) - 1) * s + k - n, 0)
        pads.append((total // 2, total - total // 2))
    return pads[0], pads[1]


def _padded(x: jax.Array, pads: Pads, value: float) -> jax.Array:
    """Padded, or cropped where a pad is negative (a floor-mode pool ignores the far edge)."""
    return lax.pad(x, jnp.asarray(value, x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))


def max_pool(x: jax.Array, *, window: Pair, stride: Pair, pads: Pads, dilation: Pair = (1, 1)) -> jax.Array:
    """Max-pool that remembers where each maximum came from, so that its gradient is a sum of shifted copies.

    The gradient of `lax.reduce_window` is a `select_and_scatter`, several times slower on a CPU: see
    `python -m benchmarks.kernels`. As in PyTorch, the first of equal maxima takes the gradient and NaN wins.
    Reverse mode only, as with every `jax.custom_vjp`: `jax.jvp` refuses it, `jax.jvp` of `jax.grad` does not.
    Gradient rules that change pools see XLA's operator instead.
    """
    if not operators_wanted():
        return _fast_max_pool(x, window=window, stride=stride, pads=pads, dilation=dilation)
    spread, padded = (1, *dilation, 1), _padded(x, pads, -jnp.inf)
    return lax.reduce_window(padded, -jnp.inf, lax.max, (1, *window, 1), (1, *stride, 1), "VALID", window_dilation=spread)


@functools.partial(plain_gradient, static_argnames=("window", "stride", "pads", "dilation"))
def _fast_max_pool(x: jax.Array, *, window: Pair, stride: Pair, pads: Pads, dilation: Pair) -> jax.Array:
    padded = _padded(x, pads, -jnp.inf)
    if dilation != (1, 1):  # rare: the gradient is that of the view which is taken
        larger = lambda best, view: jnp.where((view > best) | (view != view), view, best)  # noqa: E731
        return functools.reduce(larger, shifts(padded, window, stride, dilation))
    return _max_pool(padded, window, stride, padded.shape[1:3])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: jax.Array, window: Pair, stride: Pair, size: Pair) -> jax.Array:
    return _max_and_place(x, window, stride, size)[0]


def _max_and_place(x: jax.Array, window: Pair, stride: Pair, size: Pair) -> tuple[jax.Array, jax.Array]:
    """The maxima, and which position of its window each came from."""
    best, *rest = shifts(x, window, stride)
    place = jnp.zeros(best.shape, jnp.int8 if len(rest) < 128 else jnp.int32)
    for number, view in enumerate(rest, 1):
        take = (view > best) | (view != view)
        best, place = jnp.where(take, view, best), jnp.where(take, jnp.asarray(number, place.dtype), place)
    return best, place


def _max_pool_gradient(window: Pair, stride: Pair, size: Pair, place: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    """Pixel `stride * a + p` of the input sees output `a - d` at window position `stride * d + p`: for every phase p,
    a sum over d. The phases are then interleaved. No scatter, and no dilated copies."""
    outs, (high, wide) = g.shape[1:3], (-(-n // s) for n, s in zip(size, stride, strict=True))
    ahead = [(k - 1) // s for k, s in zip(window, stride, strict=True)]
    room = ((0, 0), (ahead[0], high - outs[0]), (ahead[1], wide - outs[1]), (0, 0))
    g, place = jnp.pad(g, room), jnp.pad(place, room, constant_values=-1)

    def seen(row: int, column: int) -> jax.Array:
        down, right = ahead[0] - row // stride[0], ahead[1] - column // stride[1]
        at = (slice(None), slice(down, down + high), slice(right, right + wide))
        return jnp.where(place[at] == window[1] * row + column, g[at], 0)

    def phase(p: int, q: int) -> jax.Array:
        terms = [seen(i, j) for i in range(p, window[0], stride[0]) for j in range(q, window[1], stride[1])]
        return functools.reduce(jnp.add, terms) if terms else jnp.zeros((g.shape[0], high, wide, g.shape[3]), g.dtype)

    phases = jnp.stack([jnp.stack([phase(p, q) for q in range(stride[1])], 3) for p in range(stride[0])], 2)
    whole = phases.reshape(g.shape[0], stride[0] * high, stride[1] * wide, g.shape[3])
    return (whole[:, : size[0], : size[1]],)


_max_pool.defvjp(_max_and_place, _max_pool_gradient)


def adaptive_max_pool(x: jax.Array, size: Sequence[int]) -> jax.Array:
    """Maxima over PyTorch's adaptive bins of each axis of space, `floor(i n / m) .. ceil((i + 1) n / m)`.

    The last axis goes first, so that the first of equal maxima, in PyTorch's order, takes the gradient.
    """
    for axis, m in reversed([*enumerate(size, 1)]):
        n = x.shape[axis]
        low, high = np.arange(m) * n // m, -(-np.arange(1, m + 1) * n // m)
        if n % m == 0:
            bins = x.reshape(*x.shape[:axis], m, n // m, *x.shape[axis + 1 :])
        else:  # the shorter bins have their last pixel twice
            places = np.minimum(low[:, None] + np.arange((high - low).max()), high[:, None] - 1)
            bins = jnp.take(x, places, axis)
        x = max_over(bins, axis + 1)
    return x


def max_over(x: jax.Array, axis: int) -> jax.Array:
    """The maximum over an axis; the first of equal ones takes the gradient, as in PyTorch. That of `jnp.max` is shared."""
    return jnp.max(x, axis) if operators_wanted() else _max_pool_over(x, axis=axis)


@functools.partial(plain_gradient, static_argnames=("axis",))
def _max_pool_over(x: jax.Array, *, axis: int) -> jax.Array:
    first = lax.broadcasted_iota(jnp.int32, x.shape, axis) == jnp.argmax(x, axis, keepdims=True)
    return jnp.where(first, x, 0).sum(axis)


def avg_pool(
    x: jax.Array, *, window: Pair, stride: Pair, pads: Pads, count: Pads | None = None, divisor: int | None = None
) -> jax.Array:
    """Average over each window.

    Args:
        x: `[B, H, W, C]`.
        window: its size.
        stride: of the windows.
        pads: zeros around the image, from `pooled_pads`.
        count: how much of the padding the average counts as pixels; all of it by default. `((0, 0), (0, 0))` is PyTorch's
            `count_include_pad=False`; with `ceil_mode` PyTorch counts the padding asked for and not the extra on the far side.
        divisor: divides by this instead (PyTorch's `divisor_override`).
    """
    total = _padded(x, pads, 0.0)
    for axis in (0, 1):  # a sum over a window is one over its rows, and then one over its columns
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
    """Averages over PyTorch's adaptive bins, `floor(i n / m) .. ceil((i + 1) n / m)`, as two matrix products."""
    if tuple(size) == (1, 1):
        return x.mean((1, 2), keepdims=True)
    if tuple(size) == x.shape[1:3]:
        return x
    rows, columns = (jnp.asarray(_bins(n, m), x.dtype) for n, m in zip(x.shape[1:3], size, strict=True))
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns, precision=lax.Precision.HIGHEST)


def _bins(n: int, m: int) -> np.ndarray:
    weights = np.zeros((m, n), np.float32)
    for i in range(m):
        low, high = i * n // m, -(-(i + 1) * n // m)
        weights[i, low:high] = 1 / (high - low)
    return weights
