"""How large an objective's gradients are near the starts of a render."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens.model import Model
from jaxlens.optvis.param._each import Each
from jaxlens.optvis.render import _step
from jaxlens.optvis.render._arguments import network_size
from jaxlens.optvis.transform import resize

NEAR = 0.01  # how far theta is moved from the start, on average


def gradient_sizes(model: Model, objective: Any, params: Each, fixed: Any = None) -> np.ndarray:
    """Return the sum of absolute gradients of an objective near each start, `[N]`.

    There are no transforms; `fixed` is the `fixed_image_size` of the render.
    """
    return np.asarray(_gradient_sizes(model, objective, params, network_size(model, params.shape, fixed)))


@functools.partial(jax.jit, static_argnames=("size",))
def _gradient_sizes(model: Model, objective: Any, params: Each, size: tuple[int, int] | None) -> jax.Array:
    def value(theta: Any, param: Any) -> jax.Array:
        images = param.to_image(theta)
        seen = images if size is None else resize(*size)(jax.random.key(0), images)
        return _step.score(model, objective, images, seen, jnp.float32(0))[0]

    def one(param: Any) -> jax.Array:
        leaves, tree = jax.tree.flatten(param.init(jax.random.key(0)))
        moved = [x + NEAR * jax.random.normal(jax.random.key(i), x.shape, x.dtype) for i, x in enumerate(leaves)]
        gradient = jax.grad(value)(jax.tree.unflatten(tree, moved), param)
        return jnp.stack([jnp.abs(leaf).sum() for leaf in jax.tree.leaves(gradient)]).sum()

    return jax.lax.map(one, params)
