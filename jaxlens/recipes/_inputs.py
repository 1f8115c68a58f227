"""Checks and conversions of the pictures, layers and objectives that recipes are given."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._checks import as_size, check_images
from jaxlens.model import Model, activations, check_model
from jaxlens.optvis import objectives, param
from jaxlens.optvis.objectives._base import Objective
from jaxlens.optvis.render._arguments import network_size
from jaxlens.optvis.transform import resize


def pictures(model: Any, images: Any, name: str = "images") -> np.ndarray:
    """Return one picture or several for a model as float32 `[N, H, W, C]`."""
    given = check_images(images, name=name, channels=check_model(model).channels, batched=None)
    if not given.size:
        raise ValueError(f"{name} has shape {given.shape}: it is empty.")
    array = np.asarray(given, np.float32)
    return np.clip(array if array.ndim == 4 else array[None], 0, 1)


def picture_ids(images: np.ndarray) -> list[int]:
    """Return a number for each picture: draws follow it, not what was measured on the picture."""
    return [zlib.crc32(np.ascontiguousarray(image).tobytes()) for image in images]


def tasks_of(model: Any, objective: Any) -> list[Objective]:
    """Return every task of an objective by itself, with class names looked up."""
    items = objectives.as_objective(objective, check_model(model))
    items = items if isinstance(items, list) else [items]
    return objectives.combine([item.bind(model) for item in items])


def one_task(model: Any, objective: Any, name: str = "objective") -> Objective:
    """Return an objective of a single task, or raise."""
    tasks = tasks_of(model, objective)
    if len(tasks) != 1:
        raise ValueError(f"{name} has {len(tasks)} tasks, but here it is one at a time: call the recipe for each.")
    return tasks[0]


def canvas(model: Any, given: Any, size: Any, batch: int = 1, **how: Any) -> Any:
    """Return the parameterization given, or else an image of the model's channels."""
    check_model(model)
    if given is not None:
        return given
    height, width = as_size(size, "size")
    channels = None if model.channels == 3 else model.channels
    return param.image(width, height, batch, channels=channels, **how)


def merged(options: Mapping[str, Any], **own: Any) -> dict[str, Any]:
    """Return the options of a render with those that the recipe itself sets."""
    return {**options, **own}


def refuse_param(options: Mapping[str, object], why: str) -> None:
    """Refuse `param` in recipes that make their own."""
    if "param" in options:
        raise TypeError(f"param is not an option here: {why}.")


def seen(model: Model, images: np.ndarray, layers: Sequence[str], fixed: Any = None) -> dict[str, np.ndarray]:
    """Return activations of pictures at the size at which a render shows them to the network.

    `fixed` is the `fixed_image_size` of the render.
    """
    size = network_size(model, images.shape, fixed)
    batch = jnp.asarray(images)
    if size is not None:
        batch = resize(*size)(jax.random.key(0), batch)
    return {name: np.asarray(value) for name, value in activations(model, batch, list(layers)).items()}


def stacked(targets: np.ndarray) -> np.ndarray:
    """Return targets of N pictures as `[N, h, w, C]`."""
    if targets.ndim == 2:
        return targets[:, None, None]
    return targets if targets.ndim == 4 else targets[:, :, None]
