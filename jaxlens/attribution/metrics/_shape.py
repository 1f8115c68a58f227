"""How few places an attribution names."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens.attribution._entry import entry
from jaxlens.attribution.metrics._inputs import check_values, ratio


@entry
def sparseness(values: Any) -> Float[Array, " b"]:
    """The Gini index of the absolute values (Chalasani et al. 2020, arXiv:1810.06583).

    `sum over i of (2 i - n - 1) v_i / (n sum v)` for v in rising order, i from 1: 0 if all are alike, `(n - 1) / n` if one is
    not 0. Neither scale nor sign counts.

    Args:
        values: an `Attribution` or its array `[B, ...]`. Every value counts by itself; `attribution.sum_channels` first to
            count pixels.

    Returns: `[B]`; 0 for a map of zeros.
    """
    return _gini(check_values(values))


@jax.jit
def _gini(values: Float[Array, "b *axes"]) -> Float[Array, " b"]:
    sizes = jnp.sort(_sizes(values), axis=1)
    n = sizes.shape[1]
    weights = (2 * jnp.arange(1, n + 1) - n - 1) / n
    return ratio((weights[None].astype(sizes.dtype) * sizes).sum(1), sizes.sum(1))


@entry
def complexity(values: Any) -> Float[Array, " b"]:
    """The entropy `-sum p log p` of the absolute values' shares `p = |v| / sum |v|`, in nats (Bhatt et al. 2020,
    arXiv:2005.00631).

    From 0, if one value has everything, to `log n`. Neither scale nor sign counts. Args: as `sparseness`.

    Returns: `[B]`; `log n` for a map of zeros, which prefers nothing.
    """
    return _entropy(check_values(values))


@jax.jit
def _entropy(values: Float[Array, "b *axes"]) -> Float[Array, " b"]:
    sizes = _sizes(values)
    n, total = sizes.shape[1], sizes.sum(1, keepdims=True)
    shares = jnp.where(total == 0, 1 / n, sizes / jnp.where(total == 0, 1, total))
    return jax.scipy.special.entr(shares).sum(1)


def _sizes(values: jax.Array) -> jax.Array:
    """Absolute values, `[B, n]`, the largest of each image 1: sums of tiny ones must not vanish."""
    sizes = jnp.abs(values.reshape(values.shape[0], -1))
    return ratio(sizes, jnp.broadcast_to(sizes.max(1, keepdims=True), sizes.shape))
