"""Where a random scale or angle is drawn from: a list of choices, or an interval."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxlens._pytree import field, pytree
from jaxlens.optvis.transform._base import check_finite


def below(key: PRNGKeyArray, n: int, shape: tuple[int, ...] = ()) -> Int[Array, "..."]:
    """Integers in 0..n-1. (`jax.random.randint` takes three times as long to compile, and every first render would wait.)"""
    return jnp.floor(jax.random.uniform(key, shape, jnp.float32) * n).astype(jnp.int32)  # u <= 1 - 2**-23: never n


@pytree
class Choices:
    """Each of `values` with the same probability; a value listed twice is twice as likely."""

    values: tuple[float, ...] = field(static=True)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value that can be drawn."""
        return min(self.values), max(self.values)

    def draw(self, key: PRNGKeyArray) -> Float[Array, ""]:
        """One value."""
        return jnp.asarray(np.asarray(self.values, np.float32))[below(key, len(self.values))]


@pytree
class Uniform:
    """Any number in [low, high), with equal density."""

    low: float = field(static=True)
    high: float = field(static=True)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value that can be drawn."""
        return self.low, self.high

    def draw(self, key: PRNGKeyArray) -> Float[Array, ""]:
        """One value."""
        return jax.random.uniform(key, (), jnp.float32, self.low, self.high)


def uniform(low: Any, high: Any) -> Uniform:
    """An interval to draw from, where `random_scale` and `random_rotate` take a list of choices.

    Raises:
        ValueError: if `low` is not below `high`.
    """
    low, high = check_finite([low, high], "(low, high)")
    if not low < high:
        raise ValueError(f"low={low} must be less than high={high}.")
    return Uniform(low=low, high=high)
