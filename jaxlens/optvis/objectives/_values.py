"""What objectives are made of, checked where it is given: layers, channels, weights, vectors, maps.

Leaves are NumPy arrays from here to the compiled step, which is the first to put them on a device.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlens._checks import as_array, is_known, shortened

Leaf = jax.Array | np.ndarray  # of an objective: NumPy's, or traced within a program

SHAPES = ("a number", "[C]", "[h, w]", "[h, w, C]")  # of one task's value, by its number of axes


def numbers(
    value: Any, name: str, rank: int = 0, *, low: float = -np.inf, above: float = -np.inf, below: float = np.inf
) -> Float[Leaf, "..."]:
    """Return finite real numbers as float32, with `rank` axes or one more for a batch of tasks.

    Errors name the argument.
    """
    array = as_numbers(value, name, f"{SHAPES[rank]}, of real numbers")
    if array.ndim not in (rank, rank + 1) or array.size == 0:
        several = "[N]" if rank == 0 else SHAPES[rank].replace("[", "[N, ")
        raise ValueError(f"{name} has shape {array.shape}, but {SHAPES[rank]} is needed, or {several} for N tasks.")
    if not is_known(array):
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
    return _constant(array)


def indices(value: Any, name: str) -> Int[Leaf, "..."]:
    """Return an integer, or integers for a batch of tasks, as int32."""
    array = as_numbers(list(value) if isinstance(value, range) else value, name, "an integer")
    if not jnp.issubdtype(array.dtype, jnp.integer) or array.ndim > 1 or array.size == 0:
        raise TypeError(f"{name}={shortened(value)} must be an integer, or integers for a batch of tasks.")
    if not is_known(array):
        return array.astype(jnp.int32)
    array = np.asarray(array)
    if (np.abs(array.astype(np.float64)) >= 2**31).any():
        raise ValueError(f"{name}={shortened(value)} is no number of a channel or pixel: it does not fit in 32 bits.")
    return _constant(array.astype(np.int32))


def as_numbers(value: Any, name: str, legal: str) -> Any:
    """Return an array of real numbers (a traced one as it is); errors name the argument."""
    legal = f"{legal}, or one more axis for a batch of tasks"
    array = as_array(value, name, legal)
    if array.dtype == bool and not array.ndim:  # masks are weights
        raise TypeError(f"{name}={shortened(value)} must be {legal}.")
    return array


def on_host(array: Any) -> Any:
    """Return a computed array as a leaf: as NumPy's, unless it is traced."""
    return array if not is_known(array) else np.asarray(array)


def _constant(array: np.ndarray) -> np.ndarray:
    """Make an array read-only, as arrays of JAX are."""
    array.setflags(write=False)
    return array


def check_layer(layer: Any, name: str = "layer") -> str:
    """Return the name of one layer, or raise an error that says what to give."""
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
    """Return one layer name or several as a tuple."""
    if isinstance(layers, str):
        return (layers,)
    if not isinstance(layers, Iterable) or isinstance(layers, bytes) or hasattr(layers, "dtype"):
        check_layer(layers, name)
    found = tuple(layers)
    if not found:
        raise ValueError(f"{name}={shortened(layers)} is empty: name at least one layer.")
    return tuple(check_layer(layer, name) for layer in found)
