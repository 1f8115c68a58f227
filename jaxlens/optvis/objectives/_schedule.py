"""Factors that depend on the step of a render, for objectives that come and go."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import STEP, Activations, Objective, pick
from jaxlens.optvis.objectives._types import Numbers
from jaxlens.optvis.objectives._values import Leaf, numbers


@pytree
class Decay(Objective):
    """A factor that falls to 0; see `decay`."""

    steps: Float[Leaf, ""] = field(rank=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.maximum(1 - activations[STEP] / self.steps, 0.0)

    def describe(self, task: int = 0) -> str:
        return f"decay({pick(self.steps, task, 0):.4g})"


@pytree
class OnlyAfter(Objective):
    """A factor that turns from 0 to 1; see `only_after`."""

    step: Float[Leaf, ""] = field(rank=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.where(activations[STEP] >= self.step, 1.0, 0.0)

    def describe(self, task: int = 0) -> str:
        return f"only_after({pick(self.step, task, 0):.4g})"


def decay(steps: Numbers) -> Objective:
    """Factor that falls from 1 at the first step to 0 after `steps`, in a straight line.

    Args:
        steps: number of steps, above 0; or several for a batch of tasks.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> blur = objectives.decay(256) * objectives.blur_input_each_step()  # at first only
        >>> (objectives.channel("mixed4a", 3) - blur).describe()
        'mixed4a:3 - (decay(256)) * (blur_input)'
    """
    return Decay(steps=numbers(steps, "steps", above=0))


def only_after(step: Numbers) -> Objective:
    """Factor that is 0 before a step (counted from 0), and 1 from it on.

    Args:
        step: number of the step, at least 0; or several for a batch of tasks.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> late = objectives.only_after(64) * objectives.total_variation()
        >>> (objectives.channel("mixed4a", 3) - 1e-3 * late).describe()
        'mixed4a:3 - 0.001*(only_after(64)) * (total_variation(input))'
    """
    return OnlyAfter(step=numbers(step, "step", low=0))
