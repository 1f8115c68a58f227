"""The windows of pools: those of `lax.reduce_window`, and whole axes."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_SETTINGS = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")


@dataclasses.dataclass(frozen=True)
class Window:
    """The settings of `lax.reduce_window`, or the axes of a maximum, as hashable tuples."""

    settings: tuple[tuple[str, Any], ...]

    @staticmethod
    def of(equation: Any) -> "Window":
        """Return the windows of a `reduce_max`, `reduce_min` or `reduce_window_...`."""
        keys = _SETTINGS if "window_dimensions" in equation.params else ("axes",)
        return Window(tuple((key, tuple(equation.params[key])) for key in keys))

    @staticmethod
    def sliding(window: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> "Window":
        """Return windows over the space of `[B, *space, C]`, without padding."""
        one = (1,) * (len(window) + 2)
        sizes = ((1, *window, 1), (1, *stride, 1), ((0, 0),) * len(one), one, (1, *dilation, 1))
        return Window(tuple(zip(_SETTINGS, sizes, strict=True)))

    @staticmethod
    def whole(shape: Sequence[int], axis: int) -> "Window":
        """Return one window over all of an axis, which stays with length 1."""
        one = (1,) * len(shape)
        window = tuple(n if i == axis else 1 for i, n in enumerate(shape))
        return Window(tuple(zip(_SETTINGS, (window, one, ((0, 0),) * len(shape), one, one), strict=True)))

    @property
    def dilated(self) -> bool:
        """Whether windows are dilated, so that JAX has no gradient for the maximum over them."""
        settings = dict(self.settings)
        return any(n != 1 for key in ("base_dilation", "window_dilation") for n in settings.get(key, ()))

    def total(self, x: Any) -> Any:
        """Return the sum over each window."""
        settings = dict(self.settings)
        if "axes" in settings:
            return x.sum(settings["axes"])
        return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, **settings)

    def reduced(self, x: Any) -> Any:
        """Return the maximum over each window, by JAX's own operator."""
        return lax.reduce_window(x, np.array(-np.inf, x.dtype), lax.max, **dict(self.settings))

    def largest(self, x: Any) -> Any:
        """Return the maximum over each window, also over dilated ones.

        The first of equal values takes the gradient, as in PyTorch.
        """
        return _largest(self, x)

    def views(self, x: Any, fill: float) -> list[Any]:
        """Return the array as each position of a window sees it, in the order of positions."""
        settings = dict(self.settings)
        size, stride, spread = (settings[key] for key in ("window_dimensions", "window_strides", "window_dilation"))
        pads = [(*pad, base - 1) for pad, base in zip(settings["padding"], settings["base_dilation"], strict=True)]
        x = lax.pad(x, np.array(fill, x.dtype), pads)
        counts = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape, size, stride, spread, strict=True)]
        found = []
        for place in itertools.product(*map(range, size)):
            start = [i * d for i, d in zip(place, spread, strict=True)]
            stop = [i + s * (m - 1) + 1 for i, s, m in zip(start, stride, counts, strict=True)]
            found.append(lax.slice(x, start, stop, stride))
        return found


def largest_and_place(views: Sequence[Any]) -> tuple[Any, Any]:
    """Return the elementwise maximum of several arrays, and which of them it came from.

    The first of equal values wins, and NaN wins over all.
    """
    best, *rest = views
    place = jnp.zeros(best.shape, jnp.int8 if len(rest) < 128 else jnp.int32)
    for number, view in enumerate(rest, 1):
        take = (view > best) | (view != view)
        best, place = jnp.where(take, view, best), jnp.where(take, jnp.asarray(number, place.dtype), place)
    return best, place


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _largest(windows: Window, x: Any) -> Any:
    return largest_and_place(windows.views(x, -np.inf))[0]


@_largest.defjvp
def _largest_jvp(windows: Window, primals: Any, tangents: Any) -> tuple[Any, Any]:
    best, place = largest_and_place(windows.views(primals[0], -np.inf))
    moves = windows.views(tangents[0], 0)
    return best, functools.reduce(jnp.add, [jnp.where(place == i, move, 0) for i, move in enumerate(moves)])
