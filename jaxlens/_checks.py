"""Checks of what users pass in, made before anything is compiled."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

# What users pass as images or as values: checked by hand, because an error of ours says what to do
# where a type's would say that the type is wrong.
Images = Any


def check_images(images: Any, *, name: str = "images", channels: int | None = 3, batched: bool = True) -> jax.Array:
    """Float images `[B, H, W, 3]` (or `[H, W, 3]` where `batched` is false) in [0, 1], or an error.

    The range is checked where the values are known, that is not under `jit`.
    """
    if not isinstance(images, jax.Array | np.ndarray):
        raise TypeError(f"{name} must be an array, but got {type(images).__name__}. Use jaxlens.data.load_image for files.")
    shape, axes = tuple(images.shape), "[B, H, W, C]" if batched else "[H, W, C]"
    if len(shape) != 3 + batched:
        hint = f" Add the batch axis: {name}[None]." if batched and len(shape) == 3 else ""
        raise ValueError(f"{name} has shape {shape}, but {axes} is needed.{hint}")
    if channels is not None and shape[-1] != channels:
        first = shape[-3]
        hint = f" It looks channels-first: use np.moveaxis({name}, -3, -1)." if first == channels else ""
        raise ValueError(f"{name} has shape {shape}, but {axes} with C={channels} is needed.{hint}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{name} has dtype {images.dtype}, but floats in [0, 1] are needed. Convert: {name}.astype('float32') / 255."
        )
    if not isinstance(images, Tracer):
        with jax.ensure_compile_time_eval():  # an array that is known stays known inside `jit`
            low, high = float(np.min(images, initial=np.inf)), float(np.max(images, initial=-np.inf))
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # the slack is for rounding; NaN fails too
            hint = " Divide by 255." if high > 2 else " A Model does its own normalisation: pass the plain image."
            raise ValueError(f"{name} has values in [{low:.4g}, {high:.4g}], but [0, 1] is needed.{hint}")
    return jnp.asarray(images)


def suggest(value: str, legal: Iterable[str], n: int = 3) -> list[str]:
    """The names in `legal` nearest to a misspelt one, else the first few."""
    legal = list(legal)
    inside = [name for name in legal if value and value in name]
    return (get_close_matches(value, legal, n=n, cutoff=0.5) or inside or legal)[:n]


def check_int(value: Any, name: str, *, low: int, high: int | None = None) -> int:
    """An integer in `low..high` (inclusive), or an error that says so."""
    legal = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r} must be {legal}.")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name}={value} must be {legal}.")
    return int(value)
