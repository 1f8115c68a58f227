"""A parameterization of its own for each task."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import one_line
from jaxlens._pytree import pytree
from jaxlens.optvis.param._base import Parameterization, Wrapper, check_inner
from jaxlens.optvis.param._types import Params


@pytree
class Each(Wrapper):
    """See `each`. Under `jax.vmap` over its leaves it is one of its members."""

    inner: Parameterization

    @property
    def count(self) -> int:
        """Number of tasks that it serves."""
        return len(jax.tree.leaves(self.inner)[0])

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """Return the images of the member."""
        return self.inner.to_image(theta)

    def take(self, tasks: Sequence[int]) -> "Each":
        """Return the members of some tasks."""
        return Each(inner=jax.tree.map(lambda leaf: leaf[np.asarray(tasks)], self.inner))


def each(params: Params) -> Each:
    """One parameterization for each task of a render: other starts, other masks.

    All of them go through one compiled program, as the tasks of an objective do. A single objective
    serves all of them.

    Args:
        params: parameterizations of one kind and size that differ in their numbers, such as
            `param.image(init=photo)` for several photographs.

    Example:
        >>> import numpy as np
        >>> from jaxlens.optvis import param
        >>> photos = [np.full((24, 32, 3), gray, np.float32) for gray in (0.3, 0.6)]
        >>> starts = param.each([param.image(init=photo) for photo in photos])
        >>> starts.count  # render.render(model, "mixed4a:3", param=starts) has so many tasks
        2
    """
    if not isinstance(params, Iterable) or isinstance(params, str | bytes | Wrapper):
        raise TypeError(f"params={one_line(repr(params), 80)} must be a list of parameterizations.")
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
