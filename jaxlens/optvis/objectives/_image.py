"""Objectives on the image itself, before transforms, or on any layer: penalties, used with a negative weight."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import Activations, Objective, pick
from jaxlens.optvis.objectives._layer import maps


@pytree
class TotalVariation(Objective):
    """See `total_variation`."""

    layer: str = field(static=True)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, None)
        return (jnp.abs(jnp.diff(a, axis=1)).sum() + jnp.abs(jnp.diff(a, axis=2)).sum()) / a.shape[0]

    def describe(self, task: int = 0) -> str:
        return f"total_variation({self.layer})"


@pytree
class L1Norm(Objective):
    """See `L1`."""

    constant: Float[Array, ""] = field(rank=0)
    layer: str = field(static=True)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.abs(activations[self.layer] - self.constant).sum()

    def describe(self, task: int = 0) -> str:
        return f"L1({self.layer}, {pick(self.constant, task, 0):.4g})"


@pytree
class L2Norm(Objective):
    """See `L2`."""

    constant: Float[Array, ""] = field(rank=0)
    epsilon: Float[Array, ""] = field(rank=0)
    layer: str = field(static=True)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.sqrt(self.epsilon + jnp.square(activations[self.layer] - self.constant).sum())

    def describe(self, task: int = 0) -> str:
        return f"L2({self.layer}, {pick(self.constant, task, 0):.4g})"


def total_variation(layer: str = "input") -> Objective:
    """`sum |dx| + sum |dy|` per image, mean over images; `layer` "input" is the untransformed image.

    Lucid returns one value per image unreduced; for one image the two agree.
    """
    return TotalVariation(layer=layer)


def L1(layer: str = "input", constant: Any = 0.0) -> Objective:
    """`sum |a - constant|` over everything, Lucid's definition."""
    return L1Norm(layer=layer, constant=jnp.asarray(constant, jnp.float32))


def L2(layer: str = "input", constant: Any = 0.0, epsilon: Any = 1e-6) -> Objective:
    """`sqrt(epsilon + sum (a - constant)**2)`, Lucid's definition."""
    return L2Norm(layer=layer, constant=jnp.asarray(constant, jnp.float32), epsilon=jnp.asarray(epsilon, jnp.float32))
