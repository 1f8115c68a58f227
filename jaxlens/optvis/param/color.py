"""Color decorrelation: axes along which the colors of natural images vary independently.

With (0, 0, 0) as the mean color, unit steps along the axes are about equally common in ImageNet,
so optimization favors no color over another. The numbers are Lucid's
(lucid/optvis/param/color.py), and identical in Lucent and captum.
"""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_images, check_reals, is_known, one_line
from jaxlens.optvis.param._types import Batches, Decorrelate, Matrix

# The square root of the covariance of ImageNet colors: column j is decorrelated axis j in RGB.
color_correlation_svd_sqrt = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float32)
max_norm_svd_sqrt = np.linalg.norm(color_correlation_svd_sqrt, axis=0).max()  # 0.46195
color_correlation_normalized = color_correlation_svd_sqrt / max_norm_svd_sqrt
color_mean = np.array([0.48, 0.46, 0.41], np.float32)  # of ImageNet

# Ohta's axes (R + G + B) / 3, (R - B) / 2, (2 G - R - B) / 4 in RGB: another choice for
# `decorrelate=`. captum multiplies by the matrix from RGB to these axes where its inverse is
# needed.
i1i2i3 = np.linalg.inv(np.array([[1 / 3, 1 / 3, 1 / 3], [1 / 2, 0, -1 / 2], [-1 / 4, 1 / 2, -1 / 4]])).astype(np.float32)

_FROM_RGB = np.linalg.inv(color_correlation_normalized.astype(np.float64)).astype(np.float32)


def to_rgb(t: Float[Array, "*axes 3"], matrix: Matrix | None = None) -> Float[Array, "*axes 3"]:
    """Return RGB, unbounded and without the mean, of colors `t` in decorrelated axes.

    Args:
        t: colors along the last axis.
        matrix: 3x3, with axis j in RGB as its column j; Lucid's by default.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis.param import color
        >>> [round(float(c), 2) for c in color.to_rgb(jnp.array([1.0, 0.0, 0.0]))]
        [0.56, 0.58, 0.58]
    """
    return _mix(_colors(t, "t"), color_correlation_normalized if matrix is None else _checked(matrix))


def from_rgb(rgb: Float[Array, "*axes 3"], matrix: Matrix | None = None) -> Float[Array, "*axes 3"]:
    """Return colors in decorrelated axes of unbounded RGB: the inverse of `to_rgb`.

    Args:
        rgb: colors along the last axis.
        matrix: as in `to_rgb`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis.param import color
        >>> axes = color.from_rgb(jnp.array([0.1, 0.2, 0.3]))
        >>> [round(float(c), 4) for c in color.to_rgb(axes)]
        [0.1, 0.2, 0.3]
    """
    return _mix(_colors(rgb, "rgb"), _FROM_RGB if matrix is None else jnp.linalg.inv(_checked(matrix)))


def _colors(value: Any, name: str) -> Array:
    """Return finite real numbers whose last axis has 3 colors, or raise."""
    array = check_reals(value, name)
    if array.ndim == 0 or array.shape[-1] != 3:
        raise ValueError(f"{name} has shape {array.shape}, but a last axis of 3 colours is needed.")
    return array


def _checked(matrix: Any) -> Array:
    """Return an invertible 3x3 matrix, or raise."""
    array = check_reals(matrix, "matrix")
    if array.shape != (3, 3):
        raise ValueError(f"matrix has shape {array.shape}, but 3x3 is needed.")
    if is_known(array) and abs(np.linalg.det(np.asarray(array))) <= 1e-9 * float(np.abs(array).max()) ** 3:
        raise ValueError(f"matrix={np.asarray(array).tolist()} has no inverse.")
    return array


def as_batches(images: Any) -> Iterable[Any]:
    """Return batches of images from one batch or an iterable of them."""
    if hasattr(images, "ndim"):
        return [images]
    if not isinstance(images, Iterable) or isinstance(images, str | bytes):
        raise TypeError(f"images={one_line(repr(images), 80)} must be an array [B, H, W, C] in [0, 1], or an iterable of such.")
    return images


def dataset_klt_matrix(images: Batches) -> Float[np.ndarray, "3 3"]:
    """Return the color axes of a dataset, for `param.image(decorrelate=...)`.

    The square root `U sqrt(S)` of the covariance `U S U^T` of its colors, as
    `color_correlation_svd_sqrt` is for ImageNet. Column j is axis j in RGB; its length is the
    deviation along it, and the longest comes first. The largest entry of each column is positive.

    Args:
        images: `[B, H, W, 3]` in [0, 1], or an iterable of such batches, of any sizes.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> photos = jax.random.uniform(jax.random.key(0), (4, 24, 32, 3))
        >>> axes = param.color.dataset_klt_matrix(photos)
        >>> p = param.image(32, 24, decorrelate=axes)
    """
    count, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for batch in as_batches(images):
        colors = np.asarray(check_images(batch), np.float64).reshape(-1, 3)
        count, total, products = count + len(colors), total + colors.sum(0), products + colors.T @ colors
    if count < 4:
        raise ValueError(f"images has {count} pixels: give at least one batch.")
    mean = total / count
    variances, axes = np.linalg.eigh(products / count - np.outer(mean, mean))
    matrix = (axes * np.sqrt(np.maximum(variances, 0)))[:, ::-1]
    largest = np.take_along_axis(matrix, np.abs(matrix).argmax(0)[None], 0)
    return (matrix * np.where(largest < 0, -1, 1)).astype(np.float32)


def check_matrix(decorrelate: Decorrelate) -> tuple[bool, Any]:
    """Return whether colors are decorrelated, and by which matrix.

    The longest column of the matrix has length 1; None is Lucid's matrix.
    """
    if isinstance(decorrelate, bool | np.bool_):
        return bool(decorrelate), None
    try:
        matrix = np.asarray(decorrelate, np.float64)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    fits = matrix.shape == (3, 3) and bool(np.isfinite(matrix).all())
    if not fits or abs(np.linalg.det(matrix)) <= 1e-9 * np.abs(matrix).max() ** 3:
        raise ValueError(
            f"decorrelate={decorrelate!r} must be True, False, or an invertible 3x3 matrix whose column j is colour axis j in "
            "RGB, such as param.color.i1i2i3 or param.color.dataset_klt_matrix(images)."
        )
    return True, jnp.asarray(matrix / np.linalg.norm(matrix, axis=0).max(), jnp.float32)


def _mix(colors: Float[Array, "*axes 3"], matrix: Any) -> Float[Array, "*axes 3"]:
    """Return `matrix @ color` by planes: XLA's own 3x3 product is several times slower on a CPU."""
    place = max(-3, -colors.ndim)
    planes = jnp.moveaxis(colors, -1, place).astype(jnp.float32)
    red, green, blue = (jnp.take(planes, i, axis=place) for i in range(3))
    rows = [[matrix[i, j] if isinstance(matrix, Array) else float(matrix[i, j]) for j in range(3)] for i in range(3)]
    return jnp.stack([red * r + green * g + blue * b for r, g, b in rows], axis=-1)
