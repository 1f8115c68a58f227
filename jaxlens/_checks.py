"""Checks of what users pass in, made before anything is compiled."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def check_images(images: Any, *, name: str = "images", channels: int | None = 3, batched: bool = True) -> jax.Array:
    """Float32 images `[B, H, W, C]` (or `[H, W, C]` where `batched` is false) in [0, 1], or an error.

    Half-precision images are widened, so that preprocessing does not round them. The range is checked where the values are
    known, that is not under `jit`.
    """
    if not isinstance(images, jax.Array | np.ndarray):
        raise TypeError(f"{name} must be an array, but got {type(images).__name__}. Use jaxlens.data.load_image for files.")
    shape, axes = tuple(images.shape), "[B, H, W, C]" if batched else "[H, W, C]"
    _check_layout(shape, name, axes, channels, batched)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{name} has dtype {images.dtype}, but floats in [0, 1] are needed. Convert: {name}.astype('float32') / 255."
        )
    if not isinstance(images, Tracer):
        with jax.ensure_compile_time_eval():  # an array that is known stays known inside `jit`
            low, high = float(np.min(images, initial=np.inf)), float(np.max(images, initial=-np.inf))
        if np.isnan(low) or np.isnan(high):
            raise ValueError(f"{name} holds NaN, but [0, 1] is needed.")
        if images.size and not (low >= -1e-3 and high <= 1 + 1e-3):  # the slack is for rounding
            raise ValueError(f"{name} has values in [{low:.4g}, {high:.4g}], but [0, 1] is needed.{_range_hint(low, high)}")
    images = owned(images)
    return images.astype(jnp.float32) if jnp.finfo(images.dtype).bits < 32 else images


def check_some(images: jax.Array, name: str = "images") -> jax.Array:
    """The images, unless there are none."""
    if images.size == 0:
        raise ValueError(f"{name} is empty, of shape {tuple(images.shape)}: give at least one.")
    return images


def _check_layout(shape: tuple[int, ...], name: str, axes: str, channels: int | None, batched: bool) -> None:
    rank = 3 + batched
    if len(shape) != rank:
        image = len(shape) == 3 and batched and (channels is None or shape[-1] == channels)
        planes = len(shape) == 2 + batched and channels == 1
        hint = (
            f" Add the batch axis: {name}[None]." if image else f" Add the channel axis: {name}[..., None]." if planes else ""
        )
        raise ValueError(f"{name} has shape {shape}, but {axes} is needed.{hint}")
    if channels is not None and shape[-1] != channels:
        first = shape[-3]
        hint = f" It looks channels-first: use np.moveaxis({name}, -3, -1)." if first == channels else ""
        raise ValueError(f"{name} has shape {shape}, but {axes} with C={channels} is needed.{hint}")


def _range_hint(low: float, high: float) -> str:
    """What probably was done to images that are not in [0, 1]."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return " Infinite values are not pixels."
    if low < -1e-3:
        return " They look normalized already: a Model does its own normalisation, so pass the plain image."
    return f" Divide by {65535 if high > 255 else 255}." if high > 2 else " Clip them, or divide by their maximum."


def suggest(value: Any, legal: Iterable[str], n: int = 3) -> list[str]:
    """The names in `legal` that hold a part of one or are nearest to a misspelt one, else the first few."""
    legal = list(legal)
    if not isinstance(value, str):
        return legal[:n]
    inside = sorted((name for name in legal if value and value.lower() in name.lower()), key=len)
    near = get_close_matches(value, legal, n=n, cutoff=0.5)
    return (list(dict.fromkeys([*inside, *near])) or legal)[:n]


def brief(text: object, limit: int = 300) -> str:
    """What a stranger's file or server says, or a parser says of it, as one short line that can be printed."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[: limit + 1].strip())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def check_int(value: Any, name: str, *, low: int, high: int | None = None) -> int:
    """An integer in `low..high` (inclusive), or an error that says so."""
    legal = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r} must be {legal}.")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name}={value} must be {legal}.")
    return int(value)


def check_number(value: Any, name: str, *, low: float = -np.inf, high: float = np.inf, above: float = -np.inf) -> float:
    """A finite real number with `low <= value <= high` and `value > above`, as a float, or an error that says so."""
    bounds = [f"{sign} {bound:g}" for sign, bound in ((">=", low), (">", above), ("<=", high)) if np.isfinite(bound)]
    legal = " ".join(["a finite number", " and ".join(bounds)]).strip()
    if isinstance(value, np.ndarray | jax.Array) and value.shape == () and not isinstance(value, Tracer):
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}={value!r} must be {legal}.")
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    if not (np.isfinite(number) and low <= number <= high and number > above):
        raise ValueError(f"{name}={value!r} must be {legal}.")
    return number


SIDE = 2**14  # the longest side of an image in pixels: one of that size is 3 GiB


def check_size(value: Any, name: str = "size") -> tuple[int, int]:
    """Height and width in pixels, from a side or a pair, or an error that says so."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"{name}={value!r} must be a side in pixels, or a pair (height, width).")
        return check_int(value[0], name, low=1, high=SIDE), check_int(value[1], name, low=1, high=SIDE)
    side = check_int(value, name, low=1, high=SIDE)
    return side, side


def check_reals(value: Any, name: str) -> Any:
    """An array of finite real numbers, as it is; within a program, where no value is known, its type is checked alone."""
    array = as_array(value, name, "an array of real numbers")
    if array.dtype == bool:
        raise TypeError(f"{name}={shortened(value)} must be an array of real numbers.")
    if array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}: it holds no numbers.")
    check_finite(array, name)
    if isinstance(array, jax.Array):
        return array
    return owned(array.astype(np.float32) if array.dtype == np.float64 else array)


def check_flag(value: Any, name: str) -> bool:
    """True or False (or 1 or 0), or an error that says so."""
    plain = isinstance(value, bool | np.bool_) or (isinstance(value, int | np.integer) and value in (0, 1))
    array = isinstance(value, np.ndarray | jax.Array) and value.shape == () and value.dtype == bool
    if not (plain or (array and not isinstance(value, Tracer))):
        raise TypeError(f"{name}={shortened(value)} must be True or False.")
    return bool(value)


def check_text(value: Any, name: str) -> str:
    """Text, or an error that says so."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={shortened(value)} must be text.")
    return value


def as_names(value: Any, name: str) -> tuple[str, ...]:
    """A name or several, as a tuple, or an error that says so."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Iterable) or isinstance(names, bytes) or not all(isinstance(each, str) for each in names):
        raise TypeError(f"{name}={shortened(value)} must be a name, or a list of names.")
    return tuple(names)


def check_scalar(value: Any, name: str, **bounds: float) -> Any:
    """`check_number` where a traced scalar passes too, since its value is not known."""
    return value if isinstance(value, Tracer) and value.shape == () else check_number(value, name, **bounds)


def as_array(value: Any, name: str, legal: str = "numbers") -> Any:
    """An array of real numbers or bools, or an error: no text, nothing ragged, no objects. What is no JAX array is NumPy's."""
    try:
        array = value if isinstance(value, jax.Array) else np.asarray(value)
    except jax.errors.TracerArrayConversionError:  # a list of traced numbers
        array = jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name}={shortened(value)} must be {legal}.") from error
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating)):
        raise TypeError(f"{name}={shortened(value)} must be {legal}.")
    return array


def owned(array: Any) -> jax.Array:
    """A JAX array of its own: one of a NumPy array may share its memory, and change with it when a loop fills it anew.

    NumPy makes the copy. `jax.numpy.array` may make it later than it returns.
    """
    return jnp.asarray(np.array(array)) if isinstance(array, np.ndarray) else jnp.asarray(array)


def check_finite(array: Any, name: str) -> Any:
    """The array, unless it is known to hold NaN or infinite numbers."""
    if not isinstance(array, Tracer):
        with jax.ensure_compile_time_eval():
            finite = bool(np.isfinite(array).all())
        if not finite:
            raise ValueError(f"{name} holds NaN or infinite values.")
    return array


def shortened(value: Any) -> str:
    """A value as an error shows it."""
    return brief(repr(value), 60)


def check_function(value: Any, name: str, example: str) -> None:
    """Raises unless `value` is a function (or another object that can be called, no class), with an example of a legal one."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name}={shortened(value)} must be a function, such as {example}.")


def check_choice(value: Any, name: str, legal: Iterable[str]) -> None:
    """Raises unless `value` is one of the names in `legal`."""
    legal = tuple(legal)
    if not isinstance(value, str) or value not in legal:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(legal)}.")


def check_path(value: Any, name: str) -> Path:
    """A path, with `~` for the home folder."""
    if not isinstance(value, str | os.PathLike) or isinstance(value, bytes) or not os.fspath(value):
        raise TypeError(f"{name}={value!r} must be a path, such as 'photo.jpg'.")
    path = os.fspath(value)
    if not isinstance(path, str) or "\0" in path:
        raise ValueError(f"{name}={value!r} is not a path.")
    return Path(path).expanduser()


SEEDS = 2**32  # JAX's keys are made of 32 bits: larger numbers would be other seeds without a word


def as_key(value: Any, name: str = "seed") -> Any:
    """A typed JAX key from a seed or a key."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        if value.shape != ():
            raise ValueError(f"{name} has shape {value.shape}, but one key is needed.")
        return value
    return jax.random.key(check_int(value, name, low=0, high=SEEDS - 1))
