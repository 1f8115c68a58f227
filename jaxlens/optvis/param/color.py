"""Colour decorrelation: axes along which the colours of natural images vary independently.

With (0, 0, 0) as the mean colour, unit steps along the axes are about as common as each other in ImageNet; optimizing there
favours no colour over another. The numbers are Lucid's (lucid/optvis/param/color.py), and identical in Lucent and captum.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# The square root of the covariance of ImageNet colours: column j is decorrelated axis j in RGB.
color_correlation_svd_sqrt = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float32)
max_norm_svd_sqrt = np.linalg.norm(color_correlation_svd_sqrt, axis=0).max()  # 0.46195
color_correlation_normalized = color_correlation_svd_sqrt / max_norm_svd_sqrt
color_mean = np.array([0.48, 0.46, 0.41], np.float32)  # of ImageNet

_TO_RGB = color_correlation_normalized.T
_FROM_RGB = np.linalg.inv(_TO_RGB.astype(np.float64)).astype(np.float32)


def to_rgb(t: Float[Array, "*axes 3"]) -> Float[Array, "*axes 3"]:
    """RGB, unbounded and without the mean, of colours `t` in decorrelated axes."""
    return _mix(t, _TO_RGB)


def from_rgb(rgb: Float[Array, "*axes 3"]) -> Float[Array, "*axes 3"]:
    """The inverse of `to_rgb`."""
    return _mix(rgb, _FROM_RGB)


def _mix(colors: Float[Array, "*axes 3"], matrix: np.ndarray) -> Float[Array, "*axes 3"]:
    """`colors @ matrix` on planes: XLA's CPU code for a product with a 3x3 matrix is several times slower."""
    place = max(-3, -colors.ndim)
    planes = jnp.moveaxis(colors, -1, place).astype(jnp.float32)
    red, green, blue = (jnp.take(planes, i, axis=place) for i in range(3))
    return jnp.stack([red * float(r) + green * float(g) + blue * float(b) for r, g, b in matrix.T], axis=-1)
