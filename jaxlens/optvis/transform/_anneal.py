"""Transforms that change over the steps of a render."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_function, check_int
from jaxlens._pytree import pytree
from jaxlens._types import Whole
from jaxlens.optvis.transform._base import Transform
from jaxlens.optvis.transform._types import AnyTransform


@runtime_checkable
class Scheduled(Transform, Protocol):
    """A transform that depends on the step of a render."""

    def at(self, number: int | Array, /) -> Transform:
        """Return the transform of step `number`."""
        ...


@pytree
class Anneal:
    """See `anneal`."""

    first: Transform
    last: Transform
    steps: Float[Array, ""]

    def at(self, number: int | Array) -> Transform:
        """Return the transform of step `number`."""
        share = jnp.clip(number / self.steps, 0.0, 1.0)
        return jax.tree.map(lambda a, b: a + share * (b - a), self.first, self.last)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Apply the transform of step 0: there are no steps outside of a render."""
        return self.first(key, images)


def anneal(first: AnyTransform, last: AnyTransform, steps: Whole) -> Anneal:
    """A transform whose numbers change in a straight line over the first steps of a render.

    Args:
        first: the transform of the first step. Its numbers must be leaves of the pytree, as those
            of `random_boxes` are: MACO's crops shrink.
        last: the transform after `steps` steps, of the same kind.
        steps: how many steps the change takes.

    Raises:
        ValueError: if the two differ in more than their numbers, or have none.

    Example:
        >>> from jaxlens.optvis import transform
        >>> wide = transform.random_boxes(8, 64, box=(0.4, 0.5))
        >>> narrow = transform.random_boxes(8, 64, box=(0.05, 0.1))
        >>> shrinking = transform.anneal(wide, narrow, steps=256)
        >>> [round(float(side), 3) for side in shrinking.at(128).box]
        [0.225, 0.3]
    """
    for name, each in (("first", first), ("last", last)):
        check_function(each, name, "random_boxes(8, 64, (0.4, 0.5))")
    forms = [(jax.tree.structure(each), [jnp.shape(leaf) for leaf in jax.tree.leaves(each)]) for each in (first, last)]
    if forms[0] != forms[1] or not forms[0][1]:
        raise ValueError(
            f"first={first!r} and last={last!r} must be two transforms that differ in numbers which may change from step to "
            "step, such as random_boxes(8, 64, (0.4, 0.5)) and random_boxes(8, 64, (0.05, 0.1))."
        )
    return Anneal(first=first, last=last, steps=jnp.float32(check_int(steps, "steps", low=1, high=10**7)))


def at(transform: Transform, number: int | Array) -> Transform:
    """Return a transform as it is at step `number`."""
    return transform.at(number) if isinstance(transform, Scheduled) else transform
