"""What objectives read of a layer's output, and the checks of channels and positions."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxlens.optvis.objectives._base import Activations
from jaxlens.optvis.objectives._values import Leaf


def maps(activations: Activations, layer: str, batch: int | None) -> Float[Array, "b h w c"]:
    """Return a layer's output as `[B, H, W, C]`, of all images or one.

    Vectors become one position, tokens a column of positions.
    """
    a = activations[layer]
    if batch is not None:
        a = a[batch : batch + 1]
    return a if a.ndim == 4 else a.reshape(a.shape[0], -1, 1, a.shape[-1])


def map_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the (h, w, C) that `maps` gives of a layer's output for one image."""
    return shape if len(shape) == 3 else (shape[0] if len(shape) == 2 else 1, 1, shape[-1])


def one_channel(values: Float[Array, " c"], index: Int[Leaf, ""]) -> Float[Array, ""]:
    """Return the value of one channel."""
    # A masked sum, not an indexing: its gradient is a broadcast where a gather's is a slow scatter.
    return jnp.where(jnp.arange(values.shape[0]) == index, values, 0.0).sum()


def at(a: Float[Array, "b h w c"], x: Any, y: Any) -> Float[Array, "b c"]:
    """Return the activations at one position, by default the center."""
    row = jnp.arange(a.shape[1]) == (a.shape[1] // 2 if y is None else y)
    column = jnp.arange(a.shape[2]) == (a.shape[2] // 2 if x is None else x)
    return jnp.where((row[:, None] & column[None, :])[None, :, :, None], a, 0.0).sum((1, 2))


def norm(a: Float[Leaf, "*axes c"]) -> Float[Array, "*axes"]:
    """Return the Euclidean norm over the last axis, at least 1e-6.

    The norm has no gradient at 0, and dead activations are common. The floor is below what any
    epsilon of an objective resolves.
    """
    return jnp.sqrt(jnp.maximum(jnp.square(a).sum(-1), 1e-12))


def check_range(values: Any, count: int, what: str, layer: str) -> None:
    """Raise for values outside `0..count - 1`, which JAX would clamp to the nearest one."""
    bad = [int(v) for v in np.atleast_1d(np.asarray(values)) if not 0 <= v < count]
    if bad:
        shown = str(bad[0]) if len(bad) == 1 else f"{bad[:8]}"
        raise ValueError(f"{what}={shown} is outside 0..{count - 1} of layer {layer!r}.")


def check_place(objective: Any, shape: tuple[int, ...]) -> None:
    """Raise for a position (`objective.x`, `objective.y`) outside the layer's map."""
    height, width, _ = map_shape(shape)
    for value, count, what in ((objective.x, width, "x"), (objective.y, height, "y")):
        if value is not None:
            check_range(value, count, what, objective.layer)


def check_vector(vector: Any, shape: tuple[int, ...], layer: str, name: str) -> None:
    """Raise for a vector (or None) with another number of entries than the layer has channels."""
    if vector is not None and vector.shape[-1] != shape[-1]:
        raise ValueError(f"{name} has {vector.shape[-1]} entries, but layer {layer!r} has {shape[-1]} channels.")
