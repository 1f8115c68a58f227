"""What objectives are made of, checked where it is given: layer names, channel numbers, weights, vectors, maps."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from jaxlens._checks import as_array, shortened

SHAPES = ("a number", "[C]", "[h, w]", "[h, w, C]")  # of one task's value, by its number of axes


def numbers(
    value: Any, name: str, rank: int = 0, *, low: float = -np.inf, above: float = -np.inf, below: float = np.inf
) -> Float[Array, "..."]:
    """Finite real numbers as float32, with `rank` axes or one more for a batch of tasks, or an error with the name."""
    array = as_numbers(value, name, f"{SHAPES[rank]}, of real numbers")
    if array.ndim not in (rank, rank + 1) or array.size == 0:
        several = "[N]" if rank == 0 else SHAPES[rank].replace("[", "[N, ")
        raise ValueError(f"{name} has shape {array.shape}, but {SHAPES[rank]} is needed, or {several} for N tasks.")
    if isinstance(array, Tracer):
        return jnp.asarray(array, jnp.float32)
    with np.errstate(over="ignore"):
        array = np.asarray(array).astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name}={shortened(value)} must be finite: NaN or infinity would reach every pixel.")
    if not ((array >= low) & (array > above) & (array < below)).all():
        if np.isfinite(low) and np.isfinite(below):
            raise ValueError(f"{name}={shortened(value)} must be in [{low:g}, {below:g}).")
        bound = f">= {low:g}" if np.isfinite(low) else f"above {above:g}"
        raise ValueError(f"{name}={shortened(value)} must be {bound}.")
    return jnp.asarray(array)


def indices(value: Any, name: str) -> Int[Array, "..."]:
    """An integer, or integers for a batch of tasks."""
    array = as_numbers(list(value) if isinstance(value, range) else value, name, "an integer")
    if not jnp.issubdtype(array.dtype, jnp.integer) or array.ndim > 1 or array.size == 0:
        raise TypeError(f"{name}={shortened(value)} must be an integer, or integers for a batch of tasks.")
    if not isinstance(array, Tracer) and (np.abs(np.asarray(array).astype(np.float64)) >= 2**31).any():
        raise ValueError(f"{name}={shortened(value)} is no number of a channel or pixel: it does not fit in 32 bits.")
    return jnp.asarray(array).astype(jnp.int32)


def as_numbers(value: Any, name: str, legal: str) -> Any:
    """An array of real numbers (traced ones stay so), or an error that names the argument."""
    legal = f"{legal}, or one more axis for a batch of tasks"
    array = as_array(value, name, legal)
    if array.dtype == bool and not array.ndim:  # masks are weights
        raise TypeError(f"{name}={shortened(value)} must be {legal}.")
    return array


def check_layer(layer: Any, name: str = "layer") -> str:
    """The name of one layer, or an error that says so."""
    if isinstance(layer, str):
        return layer
    own = getattr(layer, "name", None)
    if isinstance(own, str):
        hint = f"Give its name: {own!r}."
    elif isinstance(layer, list | tuple) and layer:
        hint = "One objective reads one layer: make one for each and add them up, or give `render` a list."
    else:
        hint = "`model.layers` lists them."
    raise TypeError(f"{name}={shortened(layer)} must be the name of a layer, such as 'mixed4a'. {hint}")


def layer_names(layers: Any, name: str = "layers") -> tuple[str, ...]:
    """One layer name or several, as a tuple."""
    if isinstance(layers, str):
        return (layers,)
    if not isinstance(layers, Iterable) or isinstance(layers, bytes) or hasattr(layers, "dtype"):
        check_layer(layers, name)
    found = tuple(layers)
    if not found:
        raise ValueError(f"{name}={shortened(layers)} is empty: name at least one layer.")
    return tuple(check_layer(layer, name) for layer in found)
