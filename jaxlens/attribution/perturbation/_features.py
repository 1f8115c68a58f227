"""Features: groups of values that are taken away together, such as grid cells or superpixels."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import as_size, check_int, is_known, shortened
from jaxlens._pytree import field, pytree
from jaxlens._types import Size
from jaxlens.attribution._query import Query

MAX_OWN = 1024  # the most values that become features of their own by default


@pytree
class Features:
    """Which feature each value belongs to, and how many features there are.

    Attributes:
        numbers: the feature of each of one image's values, or `[B, ...]` for each image; an axis of
            size 1 stands for all places along it. -1 is no feature.
        count: the largest number plus one.
    """

    numbers: Any
    count: int = field(static=True)

    def spread(self, found: Float[Array, "b f"], query: Query) -> Float[Array, "b *axes"]:
        """Return each feature's result at all its values; 0 where there is no feature."""
        return _spread(found, self.numbers, self.numbers.ndim == query.values.ndim)

    def of(self, query: Query, image: Any) -> Any:
        """Return the numbers for images `image`, broadcastable to their values."""
        return self.numbers[image] if self.numbers.ndim == query.values.ndim else self.numbers[None]


@functools.partial(jax.jit, static_argnums=2)
def _spread(found: jax.Array, numbers: Any, each: bool) -> jax.Array:
    padded = jnp.concatenate([found, jnp.zeros_like(found[:, :1])], axis=1)  # -1 is the last
    return jax.vmap(lambda row, numbers: row[numbers])(padded, numbers) if each else padded[:, numbers]


def grid_features(size: Size, cells: int | tuple[int, int]) -> np.ndarray:
    """Return a grid of features: for each pixel the number of its cell, row by row from 0.

    Args:
        size: (height, width) of the images, or of the layer's map.
        cells: cells of the grid, one number for both axes or (rows, columns). Where they do not
            divide the size, cells differ by one pixel.

    Returns: integers `[H, W]`, to be passed as `features`.

    Example:
        >>> from jaxlens import attribution
        >>> attribution.grid_features((2, 6), (2, 3)).tolist()
        [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]
    """
    height, width = as_size(size)
    rows, columns = cells_of(cells, (height, width))
    row, column = (np.arange(n) * many // n for n, many in ((height, rows), (width, columns)))
    return (row[:, None] * columns + column[None]).astype(np.int32)


def cells_of(cells: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Return (rows, columns) of a grid no finer than a map of that size."""
    pair = (cells, cells) if not isinstance(cells, tuple | list) else tuple(cells)
    if len(pair) != 2:
        raise ValueError(f"cells={cells!r} must be a number, or (rows, columns).")
    return check_int(pair[0], "cells", low=1, high=size[0]), check_int(pair[1], "cells", low=1, high=size[1])


def map_size(query: Query, method: str) -> tuple[int, int]:
    """Return (height, width) of the layer's maps, or raise where it has none."""
    if query.values.ndim != 4:
        raise ValueError(
            f"layer={query.layer!r} outputs {query.values.shape[1:]} for an image, but {method} lays a grid on maps [H, W, C]. "
            "Choose such a layer, or use feature_ablation, lime or kernel_shap with features of your own."
        )
    return query.values.shape[1], query.values.shape[2]


def as_features(features: Any, query: Query, most: int = MAX_OWN) -> Features:
    """Return the features that a user gave, checked.

    None makes each value a feature, if there are at most `most`.
    """
    axes = query.values.shape[1:]
    if features is None:
        return _own(axes, most)
    if not is_known(features):
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
    """Return the shapes that features may have, each with the shape that it is reshaped to."""
    together = (*axes[:-1], 1)  # one feature has all channels
    one = [(axes, axes)] if len(axes) == 1 else [(axes[:-1], together), (axes, axes), (together, together)]
    return one + [((count, *given), (count, *made)) for given, made in one]
