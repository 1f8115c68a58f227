"""Bilinear resizing with aligned corners, as Lucent resizes images for the network."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxlens._checks import check_int
from jaxlens._pytree import field, pytree
from jaxlens.optvis.transform._base import check_call


@pytree
class Resize:
    """See `resize`."""

    height: int = field(static=True)
    width: int = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Maps `[B, H, W, C]` to `[B, height, width, C]`."""
        images = check_call(images, "resize")
        _, h, w, _ = images.shape
        if (h, w) == (self.height, self.width):
            return images
        rows, columns = interpolation_matrix(h, self.height), interpolation_matrix(w, self.width)
        with jax.default_matmul_precision("highest"):
            planes = rows @ jnp.moveaxis(images.astype(jnp.float32), -1, 1) @ columns.T
        return jnp.moveaxis(planes, 1, -1).astype(images.dtype)


def resize(height: int, width: int) -> Resize:
    """Bilinear interpolation to a fixed size; the corner pixels stay where they are (`align_corners=True`).

    This is what Lucent does before a network of fixed input size. Like it, and unlike `jax.image.resize`, it does not
    blur when shrinking, so a strongly shrunk image aliases.
    """
    return Resize(height=check_int(height, "height", low=1), width=check_int(width, "width", low=1))


def interpolation_matrix(n: int, m: int) -> np.ndarray:
    """The `[m, n]` matrix that samples n values at m points spread evenly from the first to the last."""
    points = np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0)  # torch: a single point is the first
    return np.maximum(0, 1 - np.abs(points[:, None] - np.arange(n))).astype(np.float32)
