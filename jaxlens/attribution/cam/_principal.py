"""The first principal component of a layer's channels."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def principal(x: Float[Array, "b h w k"]) -> Float[Array, "b h w 1"]:
    """Return each position's coordinate along the channels' first principal component.

    Its sign is that of the correlation with the sum of the channels.
    """
    b, h, w, k = x.shape
    rows = x.reshape(b, h * w, k)
    rows = rows - rows.mean(1, keepdims=True)
    size = jnp.abs(rows).max((1, 2), keepdims=True)  # squares of small gradients would vanish
    rows = rows / jnp.where(size > 0, size, 1)
    if h * w <= k:  # the smaller of the two Gram matrices
        values, vectors = jnp.linalg.eigh(rows @ rows.swapaxes(1, 2))
        found = vectors[..., -1] * jnp.sqrt(jnp.maximum(values[:, -1:], 0))
    else:
        _, vectors = jnp.linalg.eigh(rows.swapaxes(1, 2) @ rows)
        found = (rows @ vectors[..., -1:])[..., 0]
    sign = jnp.where((found * rows.sum(2)).sum(1) < 0, -1, 1)
    return (sign[:, None] * found * size[:, :, 0]).reshape(b, h, w, 1)
