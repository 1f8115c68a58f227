"""Transforms that change over the steps of a render."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxlens._checks import check_function, check_int
from jaxlens._pytree import pytree


@pytree
class Anneal:
    """See `anneal`."""

    first: Any
    last: Any
    steps: Any

    def at(self, number: Array) -> Any:
        """The transform of a step."""
        share = jnp.clip(number / self.steps, 0.0, 1.0)
        return jax.tree.map(lambda a, b: a + share * (b - a), self.first, self.last)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """The transform of step 0: outside of a render there are no steps."""
        return self.first(key, images)


def anneal(first: Any, last: Any, steps: Any) -> Anneal:
    """A transform that goes from one to another over the first `steps` steps of a render, in a straight line, and stays there.

    Args:
        first, last: of one kind, whose numbers are leaves: `random_boxes`, as in MACO's crops that shrink.
        steps: how many.

    Raises:
        ValueError: if the two differ in more than their numbers, or have none.
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


def at(transform: Any, number: Array) -> Any:
    """A transform as it is at a step."""
    return transform.at(number) if hasattr(transform, "at") else transform
