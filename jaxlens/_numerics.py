"""Functions whose gradient in JAX is not the one that this field expects."""

from typing import Any

import jax
import jax.numpy as jnp
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
