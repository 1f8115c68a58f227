"""A parameterization of its own for each task."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import brief
from jaxlens._pytree import pytree
from jaxlens.optvis.param._base import Wrapper, check_inner


@pytree
class Each(Wrapper):
    """See `each`. Under `jax.vmap` over its leaves it is one of its members."""

    inner: Any

    @property
    def count(self) -> int:
        """How many tasks it serves."""
        return len(jax.tree.leaves(self.inner)[0])

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """The member's images."""
        return self.inner.to_image(theta)

    def take(self, tasks: Sequence[int]) -> "Each":
        """The members of some tasks."""
        return Each(inner=jax.tree.map(lambda leaf: leaf[np.asarray(tasks)], self.inner))


def each(params: Any) -> Each:
    """Parameterizations that differ in their numbers, one for each task of a render: other images to start from, other masks.

    Args:
        params: parameterizations of one kind and size, such as `param.image(init=photo)` for several photographs.

    They go through one compiled program, as the tasks of an objective do; a single objective is used for all of them.
    """
    if not isinstance(params, Iterable) or isinstance(params, str | bytes | Wrapper):
        raise TypeError(f"params={brief(repr(params), 80)} must be a list of parameterizations.")
    members = list(params)
    for member in members:
        check_inner(member, "params")
    if not members:
        raise ValueError("params is empty: give at least one parameterization.")
    forms = {(jax.tree.structure(p), tuple(jnp.shape(leaf) for leaf in jax.tree.leaves(p))) for p in members}
    if len(forms) != 1:
        raise ValueError("params differ in kind or size; render them one after the other.")
    if not jax.tree.leaves(members[0]):
        raise ValueError("params hold no numbers that could differ: pass one of them to `render` for all tasks.")
    return Each(inner=jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *members))
