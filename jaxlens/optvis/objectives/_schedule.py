"""Numbers that depend on the step of a render: factors for objectives that come and go."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import STEP, Activations, Objective, pick
from jaxlens.optvis.objectives._values import numbers


@pytree
class Decay(Objective):
    """See `decay`."""

    steps: Float[Array, ""] = field(rank=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.maximum(1 - activations[STEP] / self.steps, 0.0)

    def describe(self, task: int = 0) -> str:
        return f"decay({pick(self.steps, task, 0):.4g})"


@pytree
class OnlyAfter(Objective):
    """See `only_after`."""

    step: Float[Array, ""] = field(rank=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.where(activations[STEP] >= self.step, 1.0, 0.0)

    def describe(self, task: int = 0) -> str:
        return f"only_after({pick(self.step, task, 0):.4g})"


def decay(steps: Any) -> Objective:
    """A factor that falls from 1 at the first step to 0 after `steps`, in a straight line.

    `channel("mixed4a", 3) - decay(256) * blur_input_each_step()` blurs at first and no longer at the end.
    """
    return Decay(steps=numbers(steps, "steps", above=0))


def only_after(step: Any) -> Objective:
    """A factor that is 0 before the given step (counted from 0), and 1 from then on."""
    return OnlyAfter(step=numbers(step, "step", low=0))
