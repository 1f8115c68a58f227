"""Max-pools that keep their values and have the gradient of something smoother."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._numerics import absolute

POOLS = ("max", "average", "l2")  # what the gradient of a max-pool may be that of
L2_FLOOR = 1e-2  # Lucid's


@dataclasses.dataclass(frozen=True)
class Window:
    """The windows of a max-pool: the settings of `lax.reduce_window`, or the axes of a maximum."""

    settings: tuple[tuple[str, Any], ...]

    @staticmethod
    def of(equation: Any) -> "Window":
        keys = ("axes",) if equation.primitive.name == "reduce_max" else _WINDOW
        return Window(tuple((key, equation.params[key]) for key in keys))

    def total(self, x: Any) -> Any:
        """The sum over each window."""
        settings = dict(self.settings)
        if "axes" in settings:
            return x.sum(settings["axes"])
        return jax.lax.reduce_window(x, np.zeros((), x.dtype), jax.lax.add, **settings)


_WINDOW = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")


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
