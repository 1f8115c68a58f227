"""Attention over tokens `[B, tokens, channels]` and over windows of maps `[B, H, W, channels]`."""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxlens._kernels._activation import softmax
from jaxlens._kernels._norm import per_channel


def linear(x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Return `x @ kernel + bias` over the last axis."""
    y = x.astype(kernel.dtype) @ kernel
    return y if bias is None else y + per_channel(bias, y)


def split_heads(x: jax.Array, heads: int) -> jax.Array:
    """Reshape `[..., tokens, heads * d]` to `[..., heads, tokens, d]`."""
    return x.reshape(*x.shape[:-1], heads, -1).swapaxes(-2, -3)


def join_heads(x: jax.Array) -> jax.Array:
    """Reshape `[..., heads, tokens, d]` to `[..., tokens, heads * d]`."""
    return x.swapaxes(-2, -3).reshape(*x.shape[:-3], x.shape[-2], -1)


def attention_weights(q: jax.Array, k: jax.Array, mask: jax.Array | None = None, *, scale: float | None = None) -> jax.Array:
    """Return `softmax(scale * q k^T + mask)`, `[..., tokens of q, tokens of k]`: rows sum to 1.

    `scale` is `d**-0.5` by default. A boolean mask keeps the places where it is true. A row that is
    masked completely has weights 0.
    """
    scores = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.swapaxes(-1, -2)
    if mask is None:
        return softmax(scores)
    if mask.dtype == bool:
        mask = jnp.where(mask, 0, -jnp.inf).astype(scores.dtype)
    scores = scores + mask.reshape((1,) * (scores.ndim - mask.ndim) + mask.shape)
    alive = jnp.any(scores != -jnp.inf, axis=-1, keepdims=True)  # NaN stays NaN
    return jnp.where(alive, softmax(jnp.where(alive, scores, 0)), 0)


def multihead_attention(
    qkv: tuple[jax.Array, jax.Array, jax.Array],
    kernel: jax.Array,
    bias: jax.Array | None,
    *,
    heads: int,
    weights: Callable[[jax.Array, jax.Array], jax.Array] = attention_weights,
) -> jax.Array:
    """Apply PyTorch's `MultiheadAttention` up to its `out_proj`; heads are side by side.

    Args:
        qkv: the three inputs; one array three times is self-attention.
        kernel: `[channels, 3 * channels]`, from PyTorch's `in_proj_weight`.
        bias: `[3 * channels]`, or None.
        heads: how many heads.
        weights: maps queries and keys `[B, heads, tokens, d]` to attention weights.
    """
    if qkv[0] is qkv[1] is qkv[2]:  # one product for all three
        q, k, v = jnp.split(linear(qkv[0], kernel, bias), 3, axis=-1)
    else:
        kernels = jnp.split(kernel, 3, axis=1)
        biases = (None,) * 3 if bias is None else jnp.split(bias, 3)
        q, k, v = (linear(x, w, b) for x, w, b in zip(qkv, kernels, biases, strict=True))
    q, k, v = (split_heads(x, heads) for x in (q, k, v))
    return join_heads(weights(q, k) @ v)


@dataclasses.dataclass(frozen=True)
class Windows:
    """A map that is cut into windows after a cyclic shift, as in torchvision's Swin.

    Liu et al. 2021, arXiv:2103.14030. The map is padded with zeros to whole windows. An axis that
    one window covers is not shifted.
    """

    size: tuple[int, int]  # of the map
    window: tuple[int, int]
    shift: tuple[int, int]

    @property
    def padded(self) -> tuple[int, int]:
        return (-(-self.size[0] // self.window[0]) * self.window[0], -(-self.size[1] // self.window[1]) * self.window[1])

    @property
    def shifts(self) -> tuple[int, int]:
        return tuple(0 if w >= n else s for n, w, s in zip(self.padded, self.window, self.shift, strict=True))  # type: ignore

    def cut(self, x: jax.Array) -> jax.Array:
        """Cut `[B, H, W, C]` into `[B, windows, pixels of a window, C]`."""
        (high, wide), (h, w), b = self.padded, self.window, x.shape[0]
        x = jnp.pad(x, ((0, 0), (0, high - self.size[0]), (0, wide - self.size[1]), (0, 0)))
        if any(self.shifts):
            x = jnp.roll(x, [-s for s in self.shifts], (1, 2))
        return x.reshape(b, high // h, h, wide // w, w, -1).swapaxes(2, 3).reshape(b, -1, h * w, x.shape[-1])

    def join(self, x: jax.Array) -> jax.Array:
        """Invert `cut`."""
        (high, wide), (h, w) = self.padded, self.window
        x = x.reshape(-1, high // h, wide // w, h, w, x.shape[-1]).swapaxes(2, 3).reshape(-1, high, wide, x.shape[-1])
        if any(self.shifts):
            x = jnp.roll(x, self.shifts, (1, 2))
        return x[:, : self.size[0], : self.size[1]]

    def mask(self) -> np.ndarray | None:
        """Return -100 for pairs of pixels that only the shift made neighbors, else 0.

        `[windows, pixels, pixels]`, or None without a shift.
        """
        if not any(self.shifts):
            return None
        rows, columns = (
            np.where(np.arange(n) >= n - s, 2, np.where(np.arange(n) >= n - w, 1, 0)) if s else np.zeros(n, int)
            for n, w, s in zip(self.padded, self.window, self.shifts, strict=True)
        )
        (high, wide), (h, w) = self.padded, self.window
        region = (3 * rows[:, None] + columns).reshape(high // h, h, wide // w, w).swapaxes(1, 2).reshape(-1, h * w)
        return np.where(region[:, :, None] != region[:, None, :], np.float32(-100), np.float32(0))


def window_weights(
    q: jax.Array, k: jax.Array, bias: jax.Array, mask: np.ndarray | None, logit_scale: jax.Array | None = None
) -> jax.Array:
    """Return attention weights `[B, windows, heads, pixels, pixels]` within windows.

    Args:
        q: queries `[B, windows, heads, pixels, d]`.
        k: keys, of the same shape.
        bias: `[heads, pixels, pixels]`, by relative position.
        mask: see `Windows.mask`.
        logit_scale: `[heads, 1, 1]`, the logarithm of a scale, at most log 100. If it is given,
            Swin v2's cosine attention.
    """
    if logit_scale is not None:
        q, k = (x * lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1e-24)) for x in (q, k))
        q = q * jnp.exp(jnp.minimum(logit_scale, math.log(100)))[None, None]
    else:
        q = q * q.shape[-1] ** -0.5
    scores = q @ k.swapaxes(-1, -2) + bias[None, None]
    if mask is not None:
        scores = scores + jnp.asarray(mask, scores.dtype)[None, :, None]
    return softmax(scores)


def window_attention(
    x: jax.Array,
    qkv_kernel: jax.Array,
    qkv_bias: jax.Array | None,
    proj_kernel: jax.Array,
    proj_bias: jax.Array | None,
    bias: jax.Array,
    *,
    windows: Windows,
    heads: int,
    logit_scale: jax.Array | None = None,
    weights: Callable[..., jax.Array] = window_weights,
) -> jax.Array:
    """Apply torchvision's `shifted_window_attention` to a map `[B, H, W, C]`.

    `weights` is called like `window_weights`.
    """
    if logit_scale is not None and qkv_bias is not None:  # Swin v2: keys have no bias
        third = qkv_bias.shape[0] // 3
        qkv_bias = qkv_bias.at[third : 2 * third].set(0)
    q, k, v = (split_heads(y, heads) for y in jnp.split(linear(windows.cut(x), qkv_kernel, qkv_bias), 3, axis=-1))
    y = join_heads(weights(q, k, bias, windows.mask(), logit_scale) @ v)
    return windows.join(linear(y, proj_kernel, proj_bias))


@functools.cache
def relative_positions(window: tuple[int, int]) -> np.ndarray:
    """Return the row in the table of biases for each pair of pixels: `[pixels, pixels]`."""
    h, w = window
    rows, columns = (axis.reshape(-1) for axis in np.mgrid[:h, :w])
    down, right = (axis[:, None] - axis for axis in (rows, columns))
    return (down + h - 1) * (2 * w - 1) + right + w - 1
