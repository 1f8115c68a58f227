"""Bilinear resizing with aligned corners, as Lucent resizes images for the network."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxlens._checks import SIDE, check_int
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
        wide = interpolate(images.astype(jnp.float32), 1, h, self.height)
        return jnp.asarray(interpolate(wide, 2, w, self.width), images.dtype)


def resize(height: Any, width: Any) -> Resize:
    """Bilinear interpolation to a fixed size; the corner pixels stay where they are (`align_corners=True`).

    This is what Lucent does before a network of fixed input size. Like it, and unlike `jax.image.resize`, it does not
    blur when shrinking, so a strongly shrunk image aliases.
    """
    return Resize(height=check_int(height, "height", low=1, high=SIDE), width=check_int(width, "width", low=1, high=SIDE))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def interpolate(x: Array, axis: int, n: int, m: int) -> Array:
    """Resizes one axis from n to m points, linearly.

    Each output has two neighbours in the input, and each input is seen by a few outputs: forwards and backwards are
    gathers with fixed places and weights, faster on a CPU than a product with the matrix, let alone
    the scatter that is the plain gradient of a gather.
    """
    return _gathered(x, axis, interpolation_matrix(n, m))


def _interpolate_gradient(axis: int, n: int, m: int, _: None, g: Array) -> tuple[Array]:
    return (_gathered(g, axis, interpolation_matrix(n, m).T),)


interpolate.defvjp(lambda x, axis, n, m: (interpolate(x, axis, n, m), None), _interpolate_gradient)


def _gathered(x: Array, axis: int, matrix: np.ndarray) -> Array:
    """`matrix @ x` along an axis, for a matrix with few entries in each row."""
    entries = max(1, int((matrix != 0).sum(1).max()))
    places = np.argsort(matrix == 0, axis=1, kind="stable")[:, :entries]
    weights = np.take_along_axis(matrix, places, axis=1)
    shape = tuple(-1 if i == axis else 1 for i in range(x.ndim))
    terms = [jnp.take(x, places[:, i], axis=axis, mode="clip") * weights[:, i].reshape(shape) for i in range(entries)]
    return functools.reduce(jnp.add, terms)


def interpolation_matrix(n: int, m: int) -> np.ndarray:
    """The `[m, n]` matrix that samples n values at m points spread evenly from the first to the last."""
    points = np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0)  # torch: a single point is the first
    return np.maximum(0, 1 - np.abs(points[:, None] - np.arange(n))).astype(np.float32)
