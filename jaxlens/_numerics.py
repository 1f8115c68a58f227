"""Numerics in one place: gradients that JAX defines otherwise, norms, kernels, broadcasting."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@jax.custom_jvp
def absolute(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `|x|` with gradient 0 at 0, as PyTorch and TensorFlow do.

    The gradient of `jnp.abs` at 0 is 1: with it a flat image would move.
    """
    return jnp.abs(x)


@absolute.defjvp
def _absolute_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    (x,), (dx,) = primals, tangents
    return absolute(x), jnp.sign(x) * dx


def over(per_image: jax.Array, like: jax.Array) -> jax.Array:
    """Give one number per image the axes to broadcast over the image's values."""
    return per_image.reshape(per_image.shape + (1,) * (like.ndim - per_image.ndim))


def gaussian_weights(sigma: float, radius: int) -> np.ndarray:
    """Return the float64 weights of a Gaussian at `-radius .. radius`, which sum to 1."""
    weights = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    return weights / weights.sum()
