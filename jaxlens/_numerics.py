"""Numerics that several packages share, some with gradients that are not JAX's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@jax.custom_jvp
def absolute(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `|x|`, with gradient 0 at 0 as in PyTorch and TensorFlow.

    That of `jnp.abs` is 1 there, which would move a flat image.
    """
    return jnp.abs(x)


@absolute.defjvp
def _absolute_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (x,), (dx,) = primals, tangents
    return absolute(x), jnp.sign(x) * dx


def over(per_image: jax.Array, like: jax.Array) -> jax.Array:
    """Return one number per image, `[B, 1, ...]`, to broadcast over the values of `like`."""
    return per_image.reshape(per_image.shape + (1,) * (like.ndim - per_image.ndim))


def nonzero(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `x` with 1 in place of 0, to divide by."""
    return jnp.where(x == 0, 1, x)


def ratio(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return `a / b`, and 0 where b is 0."""
    return jnp.where(b == 0, 0, a / nonzero(b))


def gaussian_weights(sigma: float, radius: int) -> np.ndarray:
    """Return the float64 weights of a Gaussian at `-radius .. radius`; their sum is 1."""
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    return weights / weights.sum()


def norm_per_image(x: Float[Array, "b *axes"], epsilon: float = 0.0) -> Float[Array, "b *ones"]:
    """Return `sqrt(sum x**2 + epsilon)` of each image; with `epsilon` x = 0 has a gradient."""
    total = jnp.square(x).sum(tuple(range(1, x.ndim)), keepdims=True)
    return jnp.sqrt(total + epsilon) if epsilon else jnp.sqrt(total)


def gaussian(offsets: Float[Array, " n"], sigma: Float[Array, ""]) -> Float[Array, " n"]:
    """Return `exp(-offsets**2 / (2 sigma**2))`."""
    return jnp.exp(-0.5 * jnp.square(offsets / sigma))


def lerp_matrix(places: Float[np.ndarray, " m"], n: int) -> Float[np.ndarray, "m n"]:
    """Return the matrix that interpolates n values linearly at fractional `places` in 0..n-1."""
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(n))).astype(np.float32)
