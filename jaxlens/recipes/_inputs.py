"""What recipes make of the pictures, layers and objectives they are given."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._checks import check_images, check_int
from jaxlens.model import Model, activations
from jaxlens.optvis.objectives._base import rebuild
from jaxlens.optvis.param._each import Each
from jaxlens.optvis.render._program import score
from jaxlens.optvis.render._render import network_size
from jaxlens.optvis.transform import resize

NEAR = 0.01  # how far theta is moved from the start, on average, where gradients are compared


def pictures(images: Any, name: str = "images") -> np.ndarray:
    """One picture or several as float32 `[N, H, W, 3]`."""
    given = check_images(images, name=name, batched=getattr(images, "ndim", 0) == 4)
    array = np.asarray(given, np.float32)
    return np.clip(array if array.ndim == 4 else array[None], 0, 1)


def names(layers: str | Sequence[str]) -> tuple[str, ...]:
    """One layer or several as a tuple."""
    found = (layers,) if isinstance(layers, str) else tuple(layers)
    if not found:
        raise ValueError("layers is empty: name at least one layer.")
    return found


def seen(model: Model, images: np.ndarray, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Activations of pictures at the size at which a render shows them to the network."""
    size = network_size(model, images.shape, None)
    batch = jnp.asarray(images)
    if size is not None:
        batch = resize(*size)(jax.random.key(0), batch)
    return {name: np.asarray(value) for name, value in activations(model, batch, list(layers)).items()}


def only_first(objective: Any) -> Any:
    """An objective that looks at the first image of its task only, where it does not name one."""
    own = rebuild(objective, only_first, lambda leaf, _: leaf)
    fields = {f.name for f in dataclasses.fields(own)}
    return dataclasses.replace(own, batch=0) if "batch" in fields and own.batch is None else own


def sides(size: Any) -> tuple[int, int]:
    """Height and width from a side or a pair."""
    height, width = (size, size) if not isinstance(size, tuple | list) else size
    return check_int(height, "size", low=1), check_int(width, "size", low=1)


def gradient_sizes(model: Model, objective: Any, params: Each) -> np.ndarray:
    """The sum of absolute gradients of an objective near each start, `[N]`, without transforms."""
    size = network_size(model, params.shape, None)

    def value(theta: Any, param: Any) -> jax.Array:
        images = param.to_image(theta)
        seen = images if size is None else resize(*size)(jax.random.key(0), images)
        return score(model, objective, images, seen, jnp.float32(0))[0]

    def one(param: Any) -> jax.Array:
        leaves, tree = jax.tree.flatten(param.init(jax.random.key(0)))
        moved = [x + NEAR * jax.random.normal(jax.random.key(i), x.shape, x.dtype) for i, x in enumerate(leaves)]
        gradient = jax.grad(value)(jax.tree.unflatten(tree, moved), param)
        return jnp.stack([jnp.abs(leaf).sum() for leaf in jax.tree.leaves(gradient)]).sum()

    return np.asarray(jax.jit(lambda params: jax.lax.map(one, params))(params))
