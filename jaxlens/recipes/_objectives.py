"""Objectives that only recipes use."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jaxlens._numerics import absolute
from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import Activations, Objective

ROUNDING = 1e-4  # relative difference of two pictures or their activations where only rounding differs


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
    """A distance of a task's first image to its second at `layer`, ignoring rounding.

    It is 0 where the two differ by rounding only. The gradient of a distance has length 1 however
    small the distance is: at the original itself it would point in the direction of the rounding
    error, which depends on the other tasks of the batch.
    """

    inner: Objective
    layer: str = field(role="layer")

    def __call__(self, activations: Activations) -> Any:
        first, second = activations[self.layer][0], activations[self.layer][1]
        apart = jnp.square(first - second).sum() > ROUNDING**2 * jnp.square(second).sum()
        return jnp.where(apart, self.inner(activations), 0)

    def describe(self, task: int = 0) -> str:
        return self.inner.describe(task)


def roughness(T: Any) -> Any:
    """Mean absolute difference of a pixel from the next one, down and to the right."""
    return absolute(jnp.diff(T("input"), axis=1)).mean() + absolute(jnp.diff(T("input"), axis=2)).mean()


def contrast(T: Any) -> Any:
    """Mean squared distance from gray."""
    return jnp.square(T("input") - 0.5).mean()
