"""Objectives that weigh all channels of a layer, everywhere or in a window."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlens._checks import check_int
from jaxlens._pytree import field, pytree
from jaxlens._types import Text, Whole
from jaxlens.optvis.objectives._activations import check_place, check_range, check_vector, map_shape, maps
from jaxlens.optvis.objectives._base import Activations, Objective
from jaxlens.optvis.objectives._types import Values, Wholes
from jaxlens.optvis.objectives._values import Leaf, indices, numbers


@pytree
class Weighted(Objective):
    """The weighted mean of all channels in a window, or in the whole map for a window of 0 pixels.

    See `channel_weight` and `localgroup_weight`.
    """

    weight: Float[Leaf, " c"] | None = field(rank=1, default=None)
    x: Int[Leaf, ""] | None = field(rank=0, default=None)
    y: Int[Leaf, ""] | None = field(rank=0, default=None)
    window: tuple[int, int] = field(static=True, default=(0, 0))
    layer: str = field(role="layer")
    batch: int | None = field(role="image", default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.batch)
        for axis, start, size in ((1, self.y, self.window[0]), (2, self.x, self.window[1])):
            if size:
                first = a.shape[axis] // 2 - size // 2 if start is None else start
                offset = (jnp.arange(a.shape[axis]) - first).reshape([-1 if i == axis else 1 for i in range(4)])
                a = jnp.where((offset >= 0) & (offset < size), a, 0.0).sum(axis, keepdims=True) / size
        values = a.mean((0, 1, 2))
        return (values if self.weight is None else values * self.weight).mean()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        shape = shapes[self.layer]
        check_vector(self.weight, shape, self.layer, "weight")
        check_place(self, shape)
        height, width, _ = map_shape(shape)
        for name, start, size, count in (("wy", self.y, self.window[0], height), ("wx", self.x, self.window[1], width)):
            check_range(size, count + 1, name, self.layer)
            if size and start is not None:
                check_range(start + size - 1, count, f"the last pixel of {name}={size}", self.layer)

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:weights"


def channel_weight(layer: Text, weight: Values, batch: Whole | None = None) -> Objective:
    """Weighted mean of channels: the mean over images, positions *and* channels of `weight * a`.

    Lucent's formula: `C` times smaller than `direction(layer, weight)`, otherwise the same.

    Args:
        layer, batch: as in `channel`.
        weight: `[C]`, or `[N, C]` for a batch of tasks.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.channel_weight("mixed4a", [1.0, 1.0, 0.0, 0.0])
        >>> float(objective({"mixed4a": jnp.full((1, 4, 4, 4), 3.0)}))
        1.5
    """
    return Weighted(weight=numbers(weight, "weight", 1), layer=layer, batch=batch)


def neuron_weight(
    layer: Text,
    weight: Values | None = None,
    x: Wholes | None = None,
    y: Wholes | None = None,
    batch: Whole | None = None,
) -> Objective:
    """Weighted mean of channels at one position, by default the center.

    Args:
        layer, batch: as in `channel`.
        weight: as in `channel_weight`; None weighs all channels alike.
        x, y: column and row.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.neuron_weight("mixed4a", [1.0, -1.0], x=2, y=0)
        >>> float(objective({"mixed4a": jnp.zeros((1, 4, 4, 2)).at[0, 0, 2, 0].set(3.0)}))
        1.5
    """
    return localgroup_weight(layer, weight, x, y, 1, 1, batch)


def localgroup_weight(
    layer: Text,
    weight: Values | None = None,
    x: Wholes | None = None,
    y: Wholes | None = None,
    wx: Whole = 1,
    wy: Whole = 1,
    batch: Whole | None = None,
) -> Objective:
    """Weighted mean of channels in a window of `wx` columns and `wy` rows.

    Args:
        layer, batch: as in `channel`.
        weight: as in `channel_weight`; None weighs all channels alike.
        x, y: first column and row of the window. By default the window is in the center (Lucent
            fails there). A window that reaches beyond the map is an error (Lucent cuts it off).
        wx, wy: width and height of the window.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.localgroup_weight("mixed4a", x=0, y=0, wx=2, wy=4)
        >>> float(objective({"mixed4a": jnp.zeros((1, 4, 4, 8)).at[:, :, :2].set(5.0)}))
        5.0
    """
    return Weighted(
        weight=None if weight is None else numbers(weight, "weight", 1),
        x=None if x is None else indices(x, "x"),
        y=None if y is None else indices(y, "y"),
        window=(check_int(wy, "wy", low=1), check_int(wx, "wx", low=1)),
        layer=layer,
        batch=batch,
    )
