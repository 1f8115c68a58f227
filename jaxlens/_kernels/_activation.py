"""Activations whose name, default or form differs between JAX and PyTorch."""

import jax
import jax.numpy as jnp

from jaxlens._program import plain_gradient


def gelu(x: jax.Array, *, approximate: bool = False) -> jax.Array:
    """Return `x * Phi(x)`, exact by default; `jax.nn.gelu` approximates by default."""
    return jax.nn.gelu(x, approximate=approximate)


def hardsigmoid(x: jax.Array) -> jax.Array:
    """Return `relu6(x + 3) / 6`."""
    return jax.nn.relu6(x + 3) / 6


def hardswish(x: jax.Array) -> jax.Array:
    """Return `x * relu6(x + 3) / 6`."""
    return x * hardsigmoid(x)


@plain_gradient
def softmax(x: jax.Array) -> jax.Array:
    """Return probabilities along the last axis, summed in float32 or better."""
    return jax.nn.softmax(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=-1).astype(x.dtype)
