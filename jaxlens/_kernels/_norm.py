"""Normalizations, channels last.

Those that use statistics of the image keep their own gradient under every gradient rule.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxlens._program import plain_gradient


def per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """Return one value per channel, with the axes of `x`."""
    return values.reshape((1,) * (x.ndim - 1) + (-1,))


def batch_norm(
    x: jax.Array, scale: jax.Array | None, bias: jax.Array | None, mean: jax.Array, var: jax.Array, *, epsilon: float
) -> jax.Array:
    """Return `(x - mean) / sqrt(var + epsilon) * scale + bias`, with running statistics."""
    gain = lax.rsqrt(_wide(var) + epsilon)
    gain = gain if scale is None else _wide(scale) * gain
    y = (x.astype(gain.dtype) - per_channel(_wide(mean), x)) * per_channel(gain, x)
    y = y if bias is None else y + per_channel(_wide(bias), x)
    return y.astype(mean.dtype)


@functools.partial(plain_gradient, static_argnames=("epsilon", "axes"))
def layer_norm(x: jax.Array, scale: jax.Array | None, bias: jax.Array | None, *, epsilon: float, axes: int = 1) -> jax.Array:
    """Normalize to mean 0 and variance 1 over the last axes; then apply `scale` and `bias`."""
    over = tuple(range(-axes, 0))
    y = _standardised(x, over, epsilon)
    if scale is not None:
        y = y * scale.reshape((1,) * (x.ndim - axes) + scale.shape)
    return y if bias is None else y + bias.reshape((1,) * (x.ndim - axes) + bias.shape)


@functools.partial(plain_gradient, static_argnames=("epsilon", "groups"))
def group_norm(x: jax.Array, scale: jax.Array | None, bias: jax.Array | None, *, groups: int, epsilon: float) -> jax.Array:
    """Normalize to mean 0 and variance 1 over space and the channels of a group.

    With one group per channel this is instance norm.
    """
    grouped = x.reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    y = _standardised(grouped, (1, 3), epsilon).reshape(x.shape)
    y = y if scale is None else y * per_channel(scale, x)
    return y if bias is None else y + per_channel(bias, x)


def _standardised(x: jax.Array, axes: tuple[int, ...], epsilon: float) -> jax.Array:
    centred = _wide(x) - _wide(x).mean(axes, keepdims=True)
    return (centred * lax.rsqrt(jnp.square(centred).mean(axes, keepdims=True) + epsilon)).astype(x.dtype)


def _wide(x: jax.Array) -> jax.Array:
    """Return `x` in float32 or better: half precision is too coarse for statistics."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


@functools.partial(plain_gradient, static_argnames=("radius", "bias", "alpha", "beta"))
def local_response_norm(x: jax.Array, *, radius: int, bias: float, alpha: float, beta: float) -> jax.Array:
    """Apply TensorFlow's `lrn`, `x / (bias + alpha * sum)**beta`.

    The sum is that of `x[c']**2` over the channels `|c' - c| <= radius`.
    PyTorch divides alpha by the window: its `size=2r+1, alpha=a` is `alpha=a/(2r+1)` here.
    """
    wide = _wide(x)
    window, pads = (1,) * (x.ndim - 1) + (2 * radius + 1,), ((0, 0),) * (x.ndim - 1) + ((radius, radius),)
    energy = lax.reduce_window(jnp.square(wide), 0.0, lax.add, window, (1,) * x.ndim, pads)
    denominator = bias + alpha * energy
    root = lax.rsqrt(denominator)
    factor = {0.5: lambda: root, 0.75: lambda: root * lax.sqrt(root)}.get(beta, lambda: denominator**-beta)()
    return (wide * factor).astype(x.dtype)
