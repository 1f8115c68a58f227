"""Functions that XLA's own operators do slowly on the CPU; exact in value and gradient."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlens.model.rules import plain_gradient

Pads = tuple[tuple[int, int], tuple[int, int]]


def pooled_pads(size: tuple[int, int], window: int, stride: int, padding: int, ceil_mode: bool) -> Pads:
    """PyTorch's padding for a pool, with the extra on the far side that `ceil_mode` needs."""
    pads = []
    for n in size:
        out = (math.ceil if ceil_mode else math.floor)((n + 2 * padding - window) / stride) + 1
        if ceil_mode and (out - 1) * stride >= n + padding:
            out -= 1  # the last window must start inside the image or its near padding
        pads.append((padding, (out - 1) * stride + window - n - padding))
    return pads[0], pads[1]


def same_pads(size: tuple[int, int], window: int, stride: int) -> Pads:
    """TensorFlow's SAME padding: asymmetric, the odd pixel on the far side."""
    pads = []
    for n in size:
        total = max((math.ceil(n / stride) - 1) * stride + window - n, 0)
        pads.append((total // 2, total - total // 2))
    return pads[0], pads[1]


def _shifts(x: jax.Array, window: int, stride: int) -> list[jax.Array]:
    """The input as each position of the window sees it: `window**2` strided views."""
    b, h, w, c = x.shape
    rows, columns = ((n - window) // stride * stride + 1 for n in (h, w))
    return [
        lax.slice(x, (0, i, j, 0), (b, i + rows, j + columns, c), (1, stride, stride, 1))
        for i in range(window)
        for j in range(window)
    ]


def _padded(x: jax.Array, pads: Pads, value: float) -> jax.Array:
    """Padded, or cropped where a pad is negative (a floor-mode pool ignores the far edge)."""
    return lax.pad(x, jnp.asarray(value, x.dtype), ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0)))


@functools.partial(plain_gradient, static_argnames=("window", "stride", "pads"))
def max_pool(x: jax.Array, *, window: int, stride: int, pads: Pads) -> jax.Array:
    """Max-pool that remembers where each maximum came from, so that its gradient is a sum of shifted copies.

    The gradient of `lax.reduce_window` is a `select_and_scatter`, several times slower on a CPU: see
    `python -m benchmarks.kernels`. As in PyTorch, the first of equal maxima takes the gradient and NaN wins.
    Reverse mode only, as with every `jax.custom_vjp`: `jax.jvp` refuses it, `jax.jvp` of `jax.grad` does not.
    """
    padded = _padded(x, pads, -jnp.inf)
    return _max_pool(padded, window, stride, padded.shape[1:3])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: jax.Array, window: int, stride: int, size: tuple[int, int]) -> jax.Array:
    return _max_and_place(x, window, stride, size)[0]


def _max_and_place(x: jax.Array, window: int, stride: int, size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """The maxima, and which of the `window**2` positions each came from."""
    best, *rest = _shifts(x, window, stride)
    place = jnp.zeros(best.shape, jnp.int8 if window <= 11 else jnp.int32)
    for number, view in enumerate(rest, 1):
        take = (view > best) | (view != view)
        best, place = jnp.where(take, view, best), jnp.where(take, jnp.asarray(number, place.dtype), place)
    return best, place


def _max_pool_gradient(window: int, stride: int, size: tuple[int, int], place: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    """Pixel `stride * a + p` of the input sees output `a - d` at window position `stride * d + p`: for every phase p,
    a sum over d. The phases are then interleaved. No scatter, and no dilated copies."""
    outs, (high, wide) = g.shape[1:3], (-(-n // stride) for n in size)
    ahead = (window - 1) // stride
    room = ((0, 0), (ahead, high - outs[0]), (ahead, wide - outs[1]), (0, 0))
    g, place = jnp.pad(g, room), jnp.pad(place, room, constant_values=-1)

    def seen(row: int, column: int) -> jax.Array:
        down, right = ahead - row // stride, ahead - column // stride
        at = (slice(None), slice(down, down + high), slice(right, right + wide))
        return jnp.where(place[at] == window * row + column, g[at], 0)

    def phase(p: int, q: int) -> jax.Array:
        terms = [seen(i, j) for i in range(p, window, stride) for j in range(q, window, stride)]
        return functools.reduce(jnp.add, terms) if terms else jnp.zeros((g.shape[0], high, wide, g.shape[3]), g.dtype)

    phases = jnp.stack([jnp.stack([phase(p, q) for q in range(stride)], 3) for p in range(stride)], 2)
    whole = phases.reshape(g.shape[0], stride * high, stride * wide, g.shape[3])
    return (whole[:, : size[0], : size[1]],)


_max_pool.defvjp(_max_and_place, _max_pool_gradient)


def avg_pool(x: jax.Array, *, window: int, stride: int, pads: Pads) -> jax.Array:
    """Average over each window, padding counted as zeros (PyTorch's `count_include_pad`)."""
    views = _shifts(_padded(x, pads, 0.0), window, stride)
    return functools.reduce(jnp.add, views) / window**2


def adaptive_avg_pool(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Averages over PyTorch's adaptive bins, `floor(i n / m) .. ceil((i + 1) n / m)`, as two matrix products."""
    if size == (1, 1):
        return x.mean((1, 2), keepdims=True)
    if size == x.shape[1:3]:
        return x
    rows, columns = (jnp.asarray(_bins(n, m), x.dtype) for n, m in zip(x.shape[1:3], size, strict=True))
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns, precision=lax.Precision.HIGHEST)


def _bins(n: int, m: int) -> np.ndarray:
    weights = np.zeros((m, n), np.float32)
    for i in range(m):
        low, high = i * n // m, -(-(i + 1) * n // m)
        weights[i, low:high] = 1 / (high - low)
    return weights


@functools.partial(plain_gradient, static_argnames=("radius", "bias", "alpha", "beta"))
def local_response_norm(x: jax.Array, *, radius: int, bias: float, alpha: float, beta: float) -> jax.Array:
    """TensorFlow's `lrn`: `x / (bias + alpha * sum over |c' - c| <= radius of x[c']**2) ** beta`.

    PyTorch divides alpha by the window: its `size=2r+1, alpha=a` is `alpha=a/(2r+1)` here.
    """
    c = np.arange(x.shape[-1])
    band = jnp.asarray(np.abs(c[:, None] - c) <= radius, x.dtype)
    energy = jnp.einsum("...c,cd->...d", jnp.square(x), band, precision=lax.Precision.HIGHEST)
    denominator = bias + alpha * energy
    return x * (lax.rsqrt(denominator) if beta == 0.5 else denominator**-beta)


@plain_gradient
def softmax(x: jax.Array) -> jax.Array:
    """Probabilities along the last axis."""
    return jax.nn.softmax(x, axis=-1)


def conv1x1(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A stride-1 1x1 convolution as a matrix product, 2-3 times faster on a CPU."""
    return lax.dot_general(x, kernel[0, 0], (((x.ndim - 1,), (0,)), ((), ())))
