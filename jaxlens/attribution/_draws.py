"""Random numbers that depend on the number of a sample and not on its place in a batch."""

from collections.abc import Callable
from typing import Any

import jax


def drawn(
    key: Any, numbers: jax.Array, shape: tuple[int, ...], dtype: Any = float, draw: Callable[..., jax.Array] = jax.random.normal
) -> jax.Array:
    """Return `draw(key, shape, dtype)` for each of n numbers, `[n, *shape]`.

    What is drawn for a number depends on the number and the key only.
    """
    return jax.vmap(lambda number: draw(jax.random.fold_in(key, number), shape, dtype))(numbers)
