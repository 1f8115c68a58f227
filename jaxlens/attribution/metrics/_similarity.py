"""How alike two maps are: rank correlation and structural similarity."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._numerics import gaussian_weights, ratio
from jaxlens.attribution._entry import entry
from jaxlens.attribution._types import ValuesLike
from jaxlens.attribution.metrics._inputs import check_values

WINDOW, WINDOW_SIGMA = 11, 1.5  # Wang et al. 2004: a Gaussian window; so are K1 and K2
K1, K2 = 0.01, 0.03


def average_ranks(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    """Return ranks 1 to n in each row; equal values share the mean of theirs."""

    def row(x: jax.Array) -> jax.Array:
        ordered = jnp.sort(x)
        below, up_to = (jnp.searchsorted(ordered, x, side=side, method="sort") for side in ("left", "right"))
        return (below + up_to + 1).astype(x.dtype) / 2

    return jax.vmap(row)(x)


@entry
def spearman(a: ValuesLike, b: ValuesLike) -> Float[Array, " b"]:
    """Return Spearman's rank correlation of each pair, over all values; ties share their mean rank.

    Args:
        a, b: `[B, ...]` of one shape: arrays, or Attributions.

    Returns: `[B]`; 0 where one side is constant: it orders nothing.

    Example:
        >>> import numpy as np
        >>> from jaxlens.attribution import metrics
        >>> a, b = np.array([[1.0, 2, 3], [1, 2, 3]]), np.array([[1.0, 4, 9], [5, 0, -5]])
        >>> metrics.spearman(a, b).round(3).tolist()
        [1.0, -1.0]
    """
    return rank_correlation(*_pair(a, b))


@jax.jit
def rank_correlation(a: Float[Array, "b *axes"], b: Float[Array, "b *axes"]) -> Float[Array, " b"]:
    """Return `spearman` without its checks; NaN also where a value is."""
    n = a[0].size
    rows = [x.reshape(x.shape[0], -1) for x in (a, b)]
    ranks = [(average_ranks(x) - (n + 1) / 2) / n for x in rows]  # exactly 0 if all are alike
    unknown = jnp.isnan(rows[0]).any(1) | jnp.isnan(rows[1]).any(1)
    size = jnp.linalg.norm(ranks[0], axis=1) * jnp.linalg.norm(ranks[1], axis=1)
    return jnp.where(unknown, jnp.nan, ratio((ranks[0] * ranks[1]).sum(1), size))


def _pair(a: Any, b: Any) -> tuple[jax.Array, jax.Array]:
    a, b = check_values(a, name="a"), check_values(b, name="b")
    if a.shape != b.shape:
        raise ValueError(f"a has shape {a.shape} and b {b.shape}, but one shape is needed: they are compared value by value.")
    return a, b


@entry
def ssim(a: ValuesLike, b: ValuesLike) -> Float[Array, " b"]:
    """Return the mean structural similarity of maps in [0, 1].

    Wang et al. 2004, doi:10.1109/TIP.2003.819861: a Gaussian window of 11 pixels, at all places
    where it lies inside the map.

    Args:
        a, b: `[B, h, w]` of one shape, 11 x 11 or more.

    Returns: `[B]`; 1 for equal maps.

    Example:
        >>> import jax
        >>> from jaxlens.attribution import metrics
        >>> maps = jax.random.uniform(jax.random.key(0), (2, 24, 32))
        >>> metrics.ssim(maps, maps).round(3).tolist()
        [1.0, 1.0]
    """
    a, b = _pair(a, b)
    if a.ndim != 3 or min(a.shape[1:]) < WINDOW:
        raise ValueError(f"ssim needs maps [B, h, w] of at least {WINDOW} x {WINDOW}, but they have shape {a.shape}.")
    return structural_similarity(a, b)


@jax.jit
def structural_similarity(a: Float[Array, "b h w"], b: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Return `ssim` without its checks."""
    kernel = jnp.asarray(gaussian_weights(WINDOW_SIGMA, WINDOW // 2), a.dtype)

    def local(x: Any) -> jax.Array:
        for shape in ((1, 1, WINDOW, 1), (1, 1, 1, WINDOW)):
            x = jax.lax.conv(x, kernel.reshape(shape), (1, 1), "VALID", jax.lax.Precision.HIGHEST)
        return x

    x, y = a[:, None], b[:, None]
    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    structure = (2 * covariance + K2**2) / (var_x + var_y + K2**2)
    return ((2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2) * structure).mean((1, 2, 3))
