"""How alike two maps are: rank correlation and structural similarity."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens.attribution.metrics._question import ratio

WINDOW, WINDOW_SIGMA = 11, 1.5  # Wang et al. 2004: a Gaussian window; so are K1 and K2
K1, K2 = 0.01, 0.03


def average_ranks(x: Float[Array, "b n"]) -> Float[Array, "b n"]:
    """Ranks 1 to n in each row; equal values share the mean of theirs."""

    def row(x: jax.Array) -> jax.Array:
        ordered = jnp.sort(x)
        below, up_to = (jnp.searchsorted(ordered, x, side=side, method="sort") for side in ("left", "right"))
        return (below + up_to + 1).astype(x.dtype) / 2

    return jax.vmap(row)(x)


@jax.jit
def spearman(a: Float[Array, "b *axes"], b: Float[Array, "b *axes"]) -> Float[Array, " b"]:
    """Spearman's rank correlation of each pair, over all values; ties share their mean rank.

    0 where one side is constant: it orders nothing.
    """
    n = a[0].size
    ranks = [(average_ranks(x.reshape(x.shape[0], -1)) - (n + 1) / 2) / n for x in (a, b)]  # exactly 0 if all are alike
    return ratio((ranks[0] * ranks[1]).sum(1), jnp.linalg.norm(ranks[0], axis=1) * jnp.linalg.norm(ranks[1], axis=1))


@jax.jit
def ssim(a: Float[Array, "b h w"], b: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Mean structural similarity of maps in [0, 1] (Wang et al. 2004, doi:10.1109/TIP.2003.819861): a Gaussian window of 11
    pixels, where it lies inside."""
    if min(a.shape[1:]) < WINDOW:
        raise ValueError(f"similarity='ssim' needs maps of at least {WINDOW} x {WINDOW}, but they are {a.shape[1:]}.")
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-0.5 * (offsets / WINDOW_SIGMA) ** 2)
    kernel = jnp.asarray(weights / weights.sum(), a.dtype)

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
