"""How few places an attribution names."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._numerics import ratio
from jaxlens.attribution._entry import entry
from jaxlens.attribution._types import ValuesLike
from jaxlens.attribution.metrics._inputs import check_values


@entry
def sparseness(values: ValuesLike) -> Float[Array, " b"]:
    """Return the Gini index of the absolute values (Chalasani et al. 2020, arXiv:1810.06583).

    `sum over i of (2 i - n - 1) v_i / (n sum v)` for v in rising order, i from 1. It is 0 if all
    values are alike and `(n - 1) / n` if only one is not 0. Neither scale nor sign counts.

    Args:
        values: an `Attribution` or its array `[B, ...]`. Every value counts by itself; apply
            `attribution.sum_channels` first to count pixels.

    Returns: `[B]`; 0 for a map of zeros.

    Example:
        >>> import numpy as np
        >>> from jaxlens.attribution import metrics
        >>> metrics.sparseness(np.array([[0.0, 0, 0, 5], [5, 5, 5, 5]])).tolist()
        [0.75, 0.0]
    """
    return _gini(check_values(values))


@jax.jit
def _gini(values: Float[Array, "b *axes"]) -> Float[Array, " b"]:
    sizes = jnp.sort(_sizes(values), axis=1)
    n = sizes.shape[1]
    weights = (2 * jnp.arange(1, n + 1) - n - 1) / n
    return ratio((weights[None].astype(sizes.dtype) * sizes).sum(1), sizes.sum(1))


@entry
def complexity(values: ValuesLike) -> Float[Array, " b"]:
    """Return the entropy of the absolute values' shares, in nats.

    `-sum p log p` with `p = |v| / sum |v|` (Bhatt et al. 2020, arXiv:2005.00631): from 0, if one
    value has everything, to `log n`. Neither scale nor sign counts.

    Args: as `sparseness`.

    Returns: `[B]`; `log n` for a map of zeros, which prefers nothing.

    Example:
        >>> import numpy as np
        >>> from jaxlens.attribution import metrics
        >>> found = metrics.complexity(np.array([[0.0, 0, 0, 5], [5, 5, 5, 5]]))
        >>> [round(float(value), 3) for value in found]  # 0 and log 4
        [0.0, 1.386]
    """
    return _entropy(check_values(values))


@jax.jit
def _entropy(values: Float[Array, "b *axes"]) -> Float[Array, " b"]:
    sizes = _sizes(values)
    n, total = sizes.shape[1], sizes.sum(1, keepdims=True)
    shares = jnp.where(total == 0, 1 / n, sizes / jnp.where(total == 0, 1, total))
    return jax.scipy.special.entr(shares).sum(1)


def _sizes(values: jax.Array) -> jax.Array:
    """Return absolute values, `[B, n]`, as shares of the largest: sums of tiny ones vanish."""
    sizes = jnp.abs(values.reshape(values.shape[0], -1))
    return ratio(sizes, jnp.broadcast_to(sizes.max(1, keepdims=True), sizes.shape))
