"""Where a random scale or angle is drawn from: a list of choices, or an interval."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._pytree import field, pytree
from jaxlens.optvis.transform._base import check_finite


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
        position = jax.random.randint(key, (), 0, len(self.values), jnp.int32)
        return jnp.asarray(np.asarray(self.values, np.float32))[position]


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


def uniform(low: float, high: float) -> Uniform:
    """An interval to draw from, where `random_scale` and `random_rotate` take a list of choices.

    Raises:
        ValueError: if `low` is not below `high`.
    """
    low, high = check_finite([low, high], "(low, high)")
    if not low < high:
        raise ValueError(f"low={low} must be less than high={high}.")
    return Uniform(low=low, high=high)
