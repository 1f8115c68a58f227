"""Checks of what users pass in, made before anything is compiled.

A `check_*` raises an error that names the argument and what is legal; an `as_*` also converts
the value.
"""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def is_known(*values: Any) -> bool:
    """Return whether no value is traced by `jax.jit` or another transformation: all can be read."""
    return not any(isinstance(value, Tracer) for value in values)


def check_images(images: Any, *, name: str = "images", channels: int | None = 3, batched: bool | None = True) -> jax.Array:
    """Return images in [0, 1] as a JAX array of floats of 32 bits or more, or raise.

    Half-precision images are widened, so that preprocessing does not round them.
    The range is checked only where the values are known: not under `jit`.

    Args:
        images: floats.
        name: of the argument, for errors.
        channels: the legal number of channels, or None for any.
        batched: True for `[B, H, W, C]`, False for `[H, W, C]`, None for either.
    """
    if not isinstance(images, jax.Array | np.ndarray):
        raise TypeError(f"{name} must be an array, but got {type(images).__name__}. Use jaxlens.data.load_image for files.")
    batched = images.ndim == 4 if batched is None else batched
    shape, axes = tuple(images.shape), "[B, H, W, C]" if batched else "[H, W, C]"
    _check_layout(shape, name, axes, channels, batched)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{name} has dtype {images.dtype}, but floats in [0, 1] are needed. Convert: {name}.astype('float32') / 255."
        )
    if is_known(images):
        with jax.ensure_compile_time_eval():  # a known array stays known inside `jit`
            low, high = float(np.min(images, initial=np.inf)), float(np.max(images, initial=-np.inf))
        if np.isnan(low) or np.isnan(high):
            raise ValueError(f"{name} holds NaN, but [0, 1] is needed.")
        if images.size and not (low >= -1e-3 and high <= 1 + 1e-3):  # the slack is for rounding
            raise ValueError(f"{name} has values in [{low:.4g}, {high:.4g}], but [0, 1] is needed.{_range_hint(low, high)}")
    images = owned(images)
    return images.astype(jnp.float32) if jnp.finfo(images.dtype).bits < 32 else images


def check_some(images: jax.Array, name: str = "images") -> jax.Array:
    """Return the images, or raise if there are none."""
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
    """Say what was probably done to images that are not in [0, 1]."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return " Infinite values are not pixels."
    if low < -1e-3:
        return " They look normalized already: a Model does its own normalisation, so pass the plain image."
    return f" Divide by {65535 if high > 255 else 255}." if high > 2 else " Clip them, or divide by their maximum."


def suggest(value: Any, legal: Iterable[str], n: int = 3) -> list[str]:
    """Return up to `n` legal names that contain `value` or are spelt like it, or the first few."""
    legal = list(legal)
    if not isinstance(value, str):
        return legal[:n]
    inside = sorted((name for name in legal if value and value.lower() in name.lower()), key=len)
    near = get_close_matches(value, legal, n=n, cutoff=0.5)
    return (list(dict.fromkeys([*inside, *near])) or legal)[:n]


def one_line(text: object, limit: int = 300) -> str:
    """Return text of an untrusted file or server as one short line without control characters."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[: limit + 1].strip())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


def check_int(value: Any, name: str, *, low: int, high: int | None = None) -> int:
    """Return an integer in `low..high` (inclusive), or raise."""
    legal = f"an integer >= {low}" if high is None else f"an integer in {low}..{high}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r} must be {legal}.")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name}={value} must be {legal}.")
    return int(value)


def check_number(value: Any, name: str, *, low: float = -np.inf, high: float = np.inf, above: float = -np.inf) -> float:
    """Return a finite float with `low <= value <= high` and `value > above`, or raise."""
    bounds = [f"{sign} {bound:g}" for sign, bound in ((">=", low), (">", above), ("<=", high)) if np.isfinite(bound)]
    legal = " ".join(["a finite number", " and ".join(bounds)]).strip()
    if isinstance(value, np.ndarray | jax.Array) and value.shape == () and is_known(value):
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


def as_size(value: Any, name: str = "size", *, low: int = 1, high: int = SIDE) -> tuple[int, int]:
    """Return (height, width) in pixels from a side or a pair of sides in `low..high`, or raise."""
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name}={value!r} must be a side in pixels, or a pair (height, width).")
    return check_int(pair[0], name, low=low, high=high), check_int(pair[1], name, low=low, high=high)


def check_reals(value: Any, name: str) -> Any:
    """Return an array of finite real numbers, or raise; of traced ones check the dtype only."""
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
    """Return True or False (from a bool, or 1 or 0), or raise."""
    plain = isinstance(value, bool | np.bool_) or (isinstance(value, int | np.integer) and value in (0, 1))
    array = isinstance(value, np.ndarray | jax.Array) and value.shape == () and value.dtype == bool
    if not (plain or (array and is_known(value))):
        raise TypeError(f"{name}={shortened(value)} must be True or False.")
    return bool(value)


def check_text(value: Any, name: str) -> str:
    """Return text, or raise."""
    if not isinstance(value, str):
        raise TypeError(f"{name}={shortened(value)} must be text.")
    return value


def as_names(value: Any, name: str) -> tuple[str, ...]:
    """Return a name, or several, as a tuple of names, or raise."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Iterable) or isinstance(names, bytes) or not all(isinstance(each, str) for each in names):
        raise TypeError(f"{name}={shortened(value)} must be a name, or a list of names.")
    return tuple(names)


def check_scalar(value: Any, name: str, **bounds: float) -> Any:
    """`check_number`, which lets a traced scalar pass: its value is not known."""
    return value if not is_known(value) and value.shape == () else check_number(value, name, **bounds)


def as_array(value: Any, name: str, legal: str = "numbers") -> Any:
    """Return an array of real numbers or bools (JAX's if `value` is one, else NumPy's), or raise.

    Text, ragged lists and objects are refused; `legal` says in the error what is wanted.
    """
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
    """Return a JAX array that shares no memory with a NumPy array, which a loop may fill anew.

    NumPy makes the copy, because `jax.numpy.array` may return before it has copied.
    """
    return jnp.asarray(np.array(array)) if isinstance(array, np.ndarray) else jnp.asarray(array)


def check_finite(array: Any, name: str) -> Any:
    """Return the array, or raise if it is known to hold NaN or infinite numbers."""
    if is_known(array):
        with jax.ensure_compile_time_eval():
            finite = bool(np.isfinite(array).all())
        if not finite:
            raise ValueError(f"{name} holds NaN or infinite values.")
    return array


def shortened(value: Any) -> str:
    """Return the repr of a value, cut to what fits in an error."""
    return one_line(repr(value), 60)


def check_function(value: Any, name: str, example: str) -> None:
    """Raise unless `value` is callable and no class; the error shows `example`, a legal one."""
    if not callable(value) or isinstance(value, type):
        raise TypeError(f"{name}={shortened(value)} must be a function, such as {example}.")


def check_choice(value: Any, name: str, legal: Iterable[str]) -> None:
    """Raise unless `value` is one of the names in `legal`."""
    legal = tuple(legal)
    if not isinstance(value, str) or value not in legal:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(legal)}.")


def check_path(value: Any, name: str) -> Path:
    """Return a path, with `~` replaced by the home folder, or raise."""
    if not isinstance(value, str | os.PathLike) or isinstance(value, bytes) or not os.fspath(value):
        raise TypeError(f"{name}={value!r} must be a path, such as 'photo.jpg'.")
    path = os.fspath(value)
    if not isinstance(path, str) or "\0" in path:
        raise ValueError(f"{name}={value!r} is not a path.")
    return Path(path).expanduser()


SEEDS = 2**32  # JAX makes a key of 32 bits: a larger seed would silently be another one


def as_key(value: Any, name: str = "seed") -> Any:
    """Return a typed JAX key from a seed or a key, or raise."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        if value.shape != ():
            raise ValueError(f"{name} has shape {value.shape}, but one key is needed.")
        return value
    return jax.random.key(check_int(value, name, low=0, high=SEEDS - 1))
