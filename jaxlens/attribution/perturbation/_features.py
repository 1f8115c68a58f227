"""Features: groups of values that are taken away together, such as squares of a grid or superpixels."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jaxlens._checks import check_int, check_size, shortened
from jaxlens._pytree import field, pytree
from jaxlens.attribution._query import Query

MAX_OWN = 1024  # values that may each be a feature without having been asked for


@pytree
class Features:
    """Which feature each value belongs to, and how many features there are.

    Attributes:
        numbers: of one image's values, or `[B, ...]` of each image's; axes of size 1 go for all. -1 belongs to none.
        count: the largest number and one.
    """

    numbers: Any
    count: int = field(static=True)

    def spread(self, found: Float[Array, "b f"], query: Query) -> Float[Array, "b *axes"]:
        """What was found for each feature, at all its values; 0 where there is no feature."""
        return _spread(found, self.numbers, self.numbers.ndim == query.values.ndim)

    def of(self, query: Query, image: Any) -> Any:
        """The numbers for images `image`, broadcastable to their values."""
        return self.numbers[image] if self.numbers.ndim == query.values.ndim else self.numbers[None]


@functools.partial(jax.jit, static_argnums=2)
def _spread(found: jax.Array, numbers: Any, each: bool) -> jax.Array:
    padded = jnp.concatenate([found, jnp.zeros_like(found[:, :1])], axis=1)  # -1 is the last
    return jax.vmap(lambda row, numbers: row[numbers])(padded, numbers) if each else padded[:, numbers]


def grid_features(size: tuple[int, int], cells: int | tuple[int, int]) -> np.ndarray:
    """A grid of features: the number of the cell that each pixel lies in, row by row from 0.

    Args:
        size: (height, width) of the images, or of the layer's map.
        cells: of the grid, one number or (rows, columns). Where they do not divide the size, cells differ by one pixel.

    Returns: integers `[H, W]`.
    """
    height, width = check_size(size)
    rows, columns = cells_of(cells, (height, width))
    row, column = (np.arange(n) * many // n for n, many in ((height, rows), (width, columns)))
    return (row[:, None] * columns + column[None]).astype(np.int32)


def cells_of(cells: Any, size: tuple[int, int]) -> tuple[int, int]:
    """(rows, columns) of a grid no finer than a map of that size."""
    pair = (cells, cells) if not isinstance(cells, tuple | list) else tuple(cells)
    if len(pair) != 2:
        raise ValueError(f"cells={cells!r} must be a number, or (rows, columns).")
    return check_int(pair[0], "cells", low=1, high=size[0]), check_int(pair[1], "cells", low=1, high=size[1])


def map_size(query: Query, method: str) -> tuple[int, int]:
    """(height, width) of the layer's maps, or an error where it has none."""
    if query.values.ndim != 4:
        raise ValueError(
            f"layer={query.layer!r} outputs {query.values.shape[1:]} for an image, but {method} lays a grid on maps [H, W, C]. "
            "Choose such a layer, or use feature_ablation, lime or kernel_shap with features of your own."
        )
    return query.values.shape[1], query.values.shape[2]


def as_features(features: Any, query: Query, most: int = MAX_OWN) -> Features:
    """The features a user gave; None is one for each value, if they are not more than `most`."""
    axes = query.values.shape[1:]
    if features is None:
        return _own(axes, most)
    if isinstance(features, Tracer):
        raise TypeError("features is traced, but how many there are shapes the program: keep it out of the arguments of jit.")
    try:
        numbers = np.asarray(features)
    except (TypeError, ValueError) as error:
        raise TypeError(f"features={shortened(features)} must be an array of integers that number the features.") from error
    if not np.issubdtype(numbers.dtype, np.integer):
        raise TypeError(f"features has dtype {numbers.dtype}, but integers that number the features 0, 1, ... are needed.")
    readings = _readings(axes, query.count)
    shapes = {shape for given, shape in readings if given == numbers.shape}
    if not shapes:
        legal = ", ".join(map(str, dict.fromkeys(given for given, _ in readings)))
        raise ValueError(f"features has shape {numbers.shape}, but must have one of {legal} to number the values {axes}.")
    if len(shapes) > 1:
        raise ValueError(
            f"features has shape {numbers.shape}, which may be one numbering for all images or one for each. Say which by "
            f"adding the axis that is missing: {' or '.join(map(str, sorted(shapes)))}."
        )
    if numbers.min(initial=0) < -1 or numbers.max(initial=-1) < 0:
        raise ValueError(f"features holds {numbers.min()}..{numbers.max()}, but 0, 1, ... are needed, and -1 for no feature.")
    return Features(numbers=numbers.reshape(shapes.pop()).astype(np.int32), count=int(numbers.max()) + 1)


def _own(axes: tuple[int, ...], most: int) -> Features:
    count = int(np.prod(axes))
    if count > most:
        how = f"attribution.grid_features({axes[:2]}, 8)" if len(axes) == 3 else f"integers of shape {axes}"
        raise ValueError(
            f"features=None takes each of the {count} values {axes} for a feature of its own, but {most} is the most. "
            f"Group them: features={how}, or superpixels of your own."
        )
    return Features(numbers=np.arange(count, dtype=np.int32).reshape(axes), count=count)


def _readings(axes: tuple[int, ...], count: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes that features may have, each with the shape that it is made to."""
    together = (*axes[:-1], 1)  # channels in one feature
    one = [(axes, axes)] if len(axes) == 1 else [(axes[:-1], together), (axes, axes), (together, together)]
    return one + [((count, *given), (count, *made)) for given, made in one]
