"""What recipes make of the pictures, layers and objectives they are given."""

import functools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._checks import check_images, check_size
from jaxlens._pytree import field, pytree
from jaxlens.model import Model, activations, check_model
from jaxlens.optvis import objectives, param
from jaxlens.optvis.objectives._base import Activations, Objective
from jaxlens.optvis.param._each import Each
from jaxlens.optvis.render import _program
from jaxlens.optvis.render._render import network_size
from jaxlens.optvis.transform import resize

NEAR = 0.01  # how far theta is moved from the start, on average, where gradients are compared
ROUNDING = 1e-4  # what lies between two pictures or their activations, relative to them, where nothing else does


def pictures(model: Any, images: Any, name: str = "images") -> np.ndarray:
    """One picture or several for a model, as float32 `[N, H, W, C]`."""
    given = check_images(images, name=name, channels=check_model(model).channels, batched=getattr(images, "ndim", 0) == 4)
    if not given.size:
        raise ValueError(f"{name} has shape {given.shape}: it is empty.")
    array = np.asarray(given, np.float32)
    return np.clip(array if array.ndim == 4 else array[None], 0, 1)


def picture_ids(images: np.ndarray) -> list[int]:
    """A number for each picture: draws follow it, and not what was measured on it."""
    return [zlib.crc32(np.ascontiguousarray(image).tobytes()) for image in images]


def tasks_of(model: Any, objective: Any) -> list[Objective]:
    """Every task of an objective by itself, class names looked up."""
    items = objectives.as_objective(objective, check_model(model))
    items = items if isinstance(items, list) else [items]
    return objectives.combine([item.bind(model) for item in items])


def one_task(model: Any, objective: Any, name: str = "objective") -> Objective:
    """An objective of a single task."""
    tasks = tasks_of(model, objective)
    if len(tasks) != 1:
        raise ValueError(f"{name} has {len(tasks)} tasks, but here it is one at a time: call the recipe for each.")
    return tasks[0]


def canvas(model: Any, given: Any, size: Any, batch: int = 1, **how: Any) -> Any:
    """The parameterization given, or else an image of the model's channels."""
    check_model(model)
    if given is not None:
        return given
    height, width = check_size(size, "size")
    channels = None if model.channels == 3 else model.channels
    return param.image(width, height, batch, channels=channels, **how)


def merged(options: Mapping[str, Any], **own: Any) -> dict[str, Any]:
    """The options of a render, with those that the recipe itself sets."""
    return {**options, **own}


def refuse_param(options: Mapping[str, object], why: str) -> None:
    """For recipes that make their own."""
    if "param" in options:
        raise TypeError(f"param is not an option here: {why}.")


def seen(model: Model, images: np.ndarray, layers: Sequence[str], fixed: Any = None) -> dict[str, np.ndarray]:
    """Activations of pictures at the size at which a render shows them to the network, `fixed_image_size` if given."""
    size = network_size(model, images.shape, fixed)
    batch = jnp.asarray(images)
    if size is not None:
        batch = resize(*size)(jax.random.key(0), batch)
    return {name: np.asarray(value) for name, value in activations(model, batch, list(layers)).items()}


def stacked(targets: np.ndarray) -> np.ndarray:
    """Targets of N pictures as `[N, h, w, C]`."""
    if targets.ndim == 2:
        return targets[:, None, None]
    return targets if targets.ndim == 4 else targets[:, :, None]


@pytree
class OnlyFirst(Objective):
    """An objective that sees the first image of its task only."""

    inner: Objective

    def __call__(self, activations: Activations) -> Any:
        return self.inner({k: v[:1] if getattr(v, "ndim", 0) > 1 else v for k, v in activations.items()})

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        self.inner.check(shapes, 1)

    def describe(self, task: int = 0) -> str:
        return self.inner.describe(task)


@pytree
class BeyondRounding(Objective):
    """A distance of a task's first image to its second at `layer`, 0 where nothing but rounding lies between them.

    The gradient of a distance has length 1 however small the distance is: at the original itself it would point where rounding
    does, which depends on what is computed beside.
    """

    inner: Objective
    layer: str = field(static=True)

    def __call__(self, activations: Activations) -> Any:
        first, second = activations[self.layer][0], activations[self.layer][1]
        apart = jnp.square(first - second).sum() > ROUNDING**2 * jnp.square(second).sum()
        return jnp.where(apart, self.inner(activations), 0)

    def describe(self, task: int = 0) -> str:
        return self.inner.describe(task)


def gradient_sizes(model: Model, objective: Any, params: Each, fixed: Any = None) -> np.ndarray:
    """The sum of absolute gradients of an objective near each start, `[N]`, without transforms."""
    return np.asarray(_gradient_sizes(model, objective, params, network_size(model, params.shape, fixed)))


@functools.partial(jax.jit, static_argnames=("size",))
def _gradient_sizes(model: Model, objective: Any, params: Each, size: tuple[int, int] | None) -> jax.Array:
    def value(theta: Any, param: Any) -> jax.Array:
        images = param.to_image(theta)
        seen = images if size is None else resize(*size)(jax.random.key(0), images)
        return _program.score(model, objective, images, seen, jnp.float32(0))[0]

    def one(param: Any) -> jax.Array:
        leaves, tree = jax.tree.flatten(param.init(jax.random.key(0)))
        moved = [x + NEAR * jax.random.normal(jax.random.key(i), x.shape, x.dtype) for i, x in enumerate(leaves)]
        gradient = jax.grad(value)(jax.tree.unflatten(tree, moved), param)
        return jnp.stack([jnp.abs(leaf).sum() for leaf in jax.tree.leaves(gradient)]).sum()

    return jax.lax.map(one, params)
