"""Where a layer's values lie in the image: maps as they are, tokens in rows and columns."""

import dataclasses
import math

import jax
import numpy as np

MAX_EXTRA = 8  # tokens besides the patches: class token, distillation token, registers
ATTENTION = "attention_weights"  # how the sites of attention weights are called, here and in imported networks


@dataclasses.dataclass(frozen=True)
class Grid:
    """A layer's positions: `height` rows of `width`.

    `extra` tokens come before them; None means that the layer is a map.
    """

    height: int
    width: int
    extra: int | None = None

    def maps(self, values: jax.Array) -> jax.Array:
        """Return maps `[B, H, W, C]` of maps or of tokens `[B, T, C]`."""
        if self.extra is None:
            return values
        return values[:, self.extra :].reshape(values.shape[0], self.height, self.width, values.shape[-1])

    def sees(self, seen: np.ndarray) -> np.ndarray:
        """Return the part of `[H, W, C]` or `[T, C]` that lies on the grid."""
        return seen if self.extra is None else seen[self.extra :]


def token_grid(tokens: int, size: tuple[int, ...]) -> Grid | None:
    """Return how `tokens` lie in an image of `size` (height, width), or None if no grid fits.

    Patches are square, divide both sides, and come rows first. At most 8 other tokens come before
    them, and the fewest that fit are taken.
    """
    height, width = size
    for extra in range(MAX_EXTRA + 1):
        patches = tokens - extra
        if patches < 2:
            break
        side = math.isqrt(height * width // patches)
        if side and height % side == 0 and width % side == 0 and (height // side) * (width // side) == patches:
            return Grid(height // side, width // side, extra)
    return None


def grid_of(name: str, shape: tuple[int, ...], size: tuple[int, ...]) -> Grid | None:
    """Return the grid of a layer of this shape, or None."""
    if name.partition("@")[0].endswith(ATTENTION):
        return None
    if len(shape) == 3:
        return Grid(shape[0], shape[1])
    return token_grid(shape[0], size) if len(shape) == 2 else None
