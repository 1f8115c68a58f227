"""Distributions of a random number: a list of choices, or an interval."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxlens._pytree import field, pytree
from jaxlens._types import Number
from jaxlens.optvis.transform._base import check_finite


def below(key: PRNGKeyArray, n: int, shape: tuple[int, ...] = ()) -> Int[Array, "..."]:
    """Return integers in 0..n-1; `jax.random.randint` takes three times as long to compile."""
    return jnp.floor(jax.random.uniform(key, shape, jnp.float32) * n).astype(jnp.int32)  # u <= 1 - 2**-23: never n


@pytree
class Choices:
    """Each of `values` with the same probability; a value listed twice is twice as likely."""

    values: tuple[float, ...] = field(static=True)

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value that can be drawn."""
        return min(self.values), max(self.values)

    def draw(self, key: PRNGKeyArray) -> Float[Array, ""]:
        """Draw one value."""
        return jnp.asarray(np.asarray(self.values, np.float32))[below(key, len(self.values))]


@pytree
class Uniform:
    """Every number in [low, high), with equal density."""

    low: float = field(static=True)
    high: float = field(static=True)

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value that can be drawn."""
        return self.low, self.high

    def draw(self, key: PRNGKeyArray) -> Float[Array, ""]:
        """Draw one value."""
        return jax.random.uniform(key, (), jnp.float32, self.low, self.high)


def uniform(low: Number, high: Number) -> Uniform:
    """An interval to draw numbers from, for transforms that also take a list of choices.

    Args:
        low: the least number.
        high: the upper bound; it is never drawn.

    Raises:
        ValueError: if `low` is not below `high`.

    Example:
        >>> from jaxlens.optvis import transform
        >>> turn = transform.random_rotate(transform.uniform(-15, 15))
        >>> turn.angles.bounds
        (-15.0, 15.0)
    """
    low, high = check_finite([low, high], "(low, high)")
    if not low < high:
        raise ValueError(f"low={low} must be less than high={high}.")
    return Uniform(low=low, high=high)
