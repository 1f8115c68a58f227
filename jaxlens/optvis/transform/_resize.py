"""Bilinear resizing with aligned corners, as in Lucent."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxlens._checks import SIDE, check_int
from jaxlens._numerics import lerp_matrix
from jaxlens._pytree import field, pytree
from jaxlens._types import Whole
from jaxlens.optvis.transform._base import check_call


@pytree
class Resize:
    """See `resize`."""

    height: int = field(static=True)
    width: int = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Map `[B, H, W, C]` to `[B, height, width, C]`."""
        images = check_call(images, "resize")
        _, h, w, _ = images.shape
        if (h, w) == (self.height, self.width):
            return images
        wide = interpolate(images.astype(jnp.float32), 1, h, self.height)
        return jnp.asarray(interpolate(wide, 2, w, self.width), images.dtype)


def resize(height: Whole, width: Whole) -> Resize:
    """Resize images bilinearly with the corner pixels in place (`align_corners=True`).

    Lucent does this before a network of fixed input size. As there, and unlike in
    `jax.image.resize`, nothing is blurred when an image shrinks, so a strongly shrunk image
    aliases.

    Args:
        height: the height of the results.
        width: their width.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> row = jnp.array([0.0, 1.0]).reshape(1, 1, 2, 1)
        >>> transform.resize(1, 3)(jax.random.key(0), row).ravel().tolist()
        [0.0, 0.5, 1.0]
    """
    return Resize(height=check_int(height, "height", low=1, high=SIDE), width=check_int(width, "width", low=1, high=SIDE))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def interpolate(x: Array, axis: int, n: int, m: int) -> Array:
    """Resize one axis from n to m points, linearly.

    Each output has two neighbors in the input, and few outputs use one input. Value and gradient
    are gathers with fixed places and weights. On a CPU this is faster than a product with the
    matrix, and much faster than the scatter that is the plain gradient of a gather.
    """
    return _gathered(x, axis, interpolation_matrix(n, m))


def _interpolate_gradient(axis: int, n: int, m: int, _: None, g: Array) -> tuple[Array]:
    return (_gathered(g, axis, interpolation_matrix(n, m).T),)


interpolate.defvjp(lambda x, axis, n, m: (interpolate(x, axis, n, m), None), _interpolate_gradient)


def _gathered(x: Array, axis: int, matrix: np.ndarray) -> Array:
    """Return `matrix @ x` along an axis, for a matrix with few entries in each row."""
    entries = max(1, int((matrix != 0).sum(1).max()))
    places = np.argsort(matrix == 0, axis=1, kind="stable")[:, :entries]
    weights = np.take_along_axis(matrix, places, axis=1)
    shape = tuple(-1 if i == axis else 1 for i in range(x.ndim))
    terms = [jnp.take(x, places[:, i], axis=axis, mode="clip") * weights[:, i].reshape(shape) for i in range(entries)]
    return functools.reduce(jnp.add, terms)


def interpolation_matrix(n: int, m: int) -> np.ndarray:
    """Return the `[m, n]` matrix that samples n values at m even points from first to last."""
    points = np.arange(m) * ((n - 1) / (m - 1) if m > 1 else 0.0)  # torch: a single point is the first
    return lerp_matrix(points, n)
