"""The arguments of `render`, checked before anything is compiled."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from jaxlens._checks import SEEDS, as_key, as_size, check_int, is_known, one_line
from jaxlens.model import Model
from jaxlens.optvis.param import image as default_image

STEPS, DRAWS = 10**7, 10**5  # more would take forever


def parameterization(param: Any, size: Any, model: Model) -> Any:
    """Return the parameterization given, or images of the size and of the model's channels."""
    if param is None:
        height, width = as_size(size, "size")
        return default_image(width, height, channels=None if model.channels == 3 else model.channels)
    if isinstance(param, type) or not all(hasattr(param, name) for name in ("init", "to_image", "shape")):
        hint = " Call what makes one: param.image(128)." if callable(param) else ""
        raise TypeError(f"param={one_line(repr(param), 100)} must be a parameterization, such as param.image(128).{hint}")
    return param


def task_keys(seed: Any, count: int) -> Array:
    """Return one base key per task."""
    if isinstance(seed, jax.Array) and jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
        if seed.shape not in ((), (count,)):
            raise ValueError(f"seed has shape {seed.shape}, but one key, or one per task ({count},), is needed.")
        return jnp.broadcast_to(seed, (count,))
    if not isinstance(seed, list | tuple | range | np.ndarray | jax.Array) or np.ndim(seed) == 0:
        return jnp.broadcast_to(as_key(seed), (count,))
    seeds = _one_per_task(seed, "seed", count, "an integer or a key, or ")
    return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))


def _one_per_task(values: Any, name: str, count: int, besides: str = "") -> np.ndarray:
    """Return integers of 32 bits, one per task; JAX would silently cut off larger ones."""
    try:
        numbers = np.asarray(list(values) if isinstance(values, range) else values)
    except Exception:  # JAX raises its own errors for a list of keys
        numbers = np.asarray(None)
    fits = numbers.shape == (count,) and np.issubdtype(numbers.dtype, np.integer)
    if not fits or not ((numbers >= 0) & (numbers < SEEDS)).all():
        raise ValueError(
            f"{name}={one_line(repr(values), 100)} must be {besides}{count} integers in 0..{SEEDS - 1}, one per task."
        )
    return numbers


def check_ids(ids: Any, count: int) -> list[int]:
    """Return the ids as a list of one number per task."""
    return [int(number) for number in _one_per_task(ids, "ids", count)]


def check_count(value: Any, name: str, *, low: int, most: int) -> int:
    """Return an integer of at least `low`, and not so large that the render would never end."""
    count = check_int(value, name, low=low)
    if count > most:
        raise ValueError(f"{name}={count} would never end: {most} at most.")
    return count


def check_optimizer(optimizer: Any) -> None:
    """Refuse what is neither an optax optimizer nor None; say what replaces Lucent's functions."""
    if optimizer is None or isinstance(optimizer, optax.GradientTransformation):
        return
    hint = ""
    if callable(optimizer):
        hint = (
            " What Lucent writes as `lambda params: torch.optim.Adam(params, lr=0.05)` is optax.adam(0.05): the parameters are "
            "the render's own."
        )
    raise TypeError(f"optimizer={one_line(repr(optimizer), 100)} must be an optax optimizer, such as optax.adam(0.05).{hint}")


def check_thresholds(thresholds: Any, steps: int) -> tuple[int, ...]:
    """Return the steps after which snapshots are kept."""
    if not isinstance(thresholds, Iterable) or isinstance(thresholds, str | bytes):
        raise TypeError(f"thresholds={thresholds!r} must be a list of steps, such as (64, 512).")
    return tuple(check_int(t, "thresholds", low=1, high=steps) for t in thresholds)


def check_devices(devices: Any, model: Model) -> list[Any]:
    """Return the devices given; else those on which the weights were put on purpose; else all."""
    return own_devices(model) or jax.local_devices() if devices is None else device_list(devices)


def device_list(devices: Any) -> list[Any]:
    """Return the devices as a list, or raise."""
    found = list(devices) if isinstance(devices, Sequence) and not isinstance(devices, str) else []
    if not found or not all(isinstance(device, jax.Device) for device in found):
        raise TypeError(f"devices={one_line(repr(devices), 100)} must be a list of devices, such as jax.devices()[:1].")
    return found


def own_devices(model: Model) -> list[Any]:
    """Return the devices on which weights were put on purpose; none by default.

    Weights are put by `jax.device_put(model, device)` or by a sharding.
    """
    placed = [leaf for leaf in jax.tree.leaves(model) if isinstance(leaf, jax.Array) and getattr(leaf, "committed", False)]
    return sorted({device for leaf in placed for device in leaf.devices()}, key=lambda device: device.id)


def network_size(model: Model, shape: tuple[int, ...], fixed: Any) -> tuple[int, int] | None:
    """Return the size at which the network sees the images, or None for the size they have."""
    if fixed is not None:
        return as_size(fixed, "fixed_image_size")
    height, width = shape[1:3]
    if model.fixed_size:  # transforms may change the size
        return model.input_size[0], model.input_size[1]
    factor = max(model.input_size[0] / height, model.input_size[1] / width)
    return (round(height * factor), round(width * factor)) if factor > 1 else None


def refuse_traced(what: str, *values: Any) -> None:
    """Raise inside `jax.jit`, `vmap` and `grad`, where no value is known."""
    if not is_known(*jax.tree.leaves((values, jnp.zeros(())))):
        raise TypeError(
            f"{what} was called inside jax.jit, vmap or grad, but it looks at the values of its arguments, and compiles a "
            "program of its own: call it outside. Many objectives are one program: give it a list, or channels as a range."
        )
