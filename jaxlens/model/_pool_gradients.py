"""Max-pools that keep their values and have the gradient of something smoother."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxlens._numerics import absolute
from jaxlens._program import Window

POOLS = ("max", "average", "l2")  # what the gradient of a max-pool may be that of
L2_FLOOR = 1e-2  # Lucid's


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def pool_with(how: tuple[str, Window], x: Any, y: Any) -> Any:
    """A max-pool `y` of `x` whose gradient is that of another function of the same windows; see `rules.standard`."""
    return y


def _pool_backward(how: tuple[str, Window], x: Any, g: Any) -> tuple[Any, Any]:
    kind, window = how
    inside = x > jnp.finfo(x.dtype).min  # a pool's padding may be part of its input
    count = jnp.maximum(window.total(inside.astype(x.dtype)), 1)

    def mean(values: Any) -> Any:
        return window.total(jnp.where(inside, values, 0)) / count

    def relaxed(x: Any) -> Any:
        x = jnp.where(inside, x, 0)
        return mean(x) if kind == "average" else mean(jnp.square(x)) / (L2_FLOOR + mean(absolute(x)))

    return jax.vjp(relaxed, x)[1](g)[0], None


pool_with.defvjp(lambda how, x, y: (y, x), _pool_backward)
