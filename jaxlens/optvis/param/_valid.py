"""From unbounded numbers to colours in [0, 1], and back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_flag, check_reals
from jaxlens._pytree import field, pytree
from jaxlens.optvis.param import color
from jaxlens.optvis.param._base import Wrapper

# How far from 0 and 1 the sigmoid's inverse stays (as Horama): black and white pixels come back wrong by less than half of
# an 8-bit step, and still have a gradient.
LOGIT_MARGIN = 1e-3


def constrain_L_inf(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Clips to [-1, 1], with a gradient that is zero only where it pushes further outward.

    A pixel that has left the range can come back, where clipping by itself would hold it forever.

    "Outward" needs a direction, and it is that of *ascent*: differentiate the score that is maximised, as jaxlens does, and
    negate the gradient for the optimizer afterwards. Differentiating a loss turns the rule around. (Lucid has the same
    formula but differentiates the loss, so there it holds back the pixels that return.)
    """
    return _constrained(check_reals(x, "x"))


@jax.custom_vjp
def _constrained(x):
    return jnp.clip(x, -1, 1)


def _constrain_fwd(x):
    return jnp.clip(x, -1, 1), x


def _constrain_bwd(x, cotangent):
    outward = (jnp.abs(x) >= 1) & (x * cotangent > 0)
    return (jnp.where(outward, jnp.zeros_like(cotangent), cotangent),)


_constrained.defvjp(_constrain_fwd, _constrain_bwd)


@pytree
class Valid(Wrapper):
    """An unbounded parameterization brought to [0, 1]; the last channel is opacity if `alpha`."""

    inner: Any
    decorrelate: bool = field(static=True)
    sigmoid: bool = field(static=True)
    alpha: bool = field(static=True, default=False)
    matrix: Float[Array, "3 3"] | None = field(rank=2, default=None)

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """Images in [0, 1]."""
        t = self.inner.to_image(theta)
        if not self.alpha:
            return _squash(t, self.decorrelate, self.sigmoid, self.matrix)
        rgb = _squash(t[..., :-1], self.decorrelate, self.sigmoid, self.matrix)
        return jnp.concatenate([rgb, _squash(t[..., -1:], False, self.sigmoid)], axis=-1)

    def from_image(self, images: Float[Array, "b h w c"]) -> Any:
        """The inverse of `to_image`, but for the outermost `LOGIT_MARGIN` of the range."""
        if not self.alpha:
            return self.inner.from_image(_unsquash(images, self.decorrelate, self.sigmoid, self.matrix))
        rgb = _unsquash(images[..., :-1], self.decorrelate, self.sigmoid, self.matrix)
        opacity = _unsquash(images[..., -1:], False, self.sigmoid)
        return self.inner.from_image(jnp.concatenate([rgb, opacity], axis=-1))


def to_valid_rgb(t: Any, decorrelate: Any = False, sigmoid: Any = True) -> Any:
    """Colours in [0, 1] from unbounded numbers.

    Args:
        t: an array whose last axis is colour, or a parameterization such as `fft_image(shape)`.
        decorrelate: take the numbers as colours in decorrelated axes (see `param.color`): True for Lucid's, or a 3x3 matrix
            whose column j is axis j in RGB, of any scale (`param.color.dataset_klt_matrix(images)`).
        sigmoid: squash by a sigmoid; otherwise clip by `constrain_L_inf`, whose gradient rule assumes that the score is
            differentiated and maximised. Clipped and decorrelated, zero is the mean colour of ImageNet.

    Returns: what `t` was: an array, or a parameterization.
    """
    if hasattr(t, "to_image"):
        channels = t.shape[-1]
    elif isinstance(t, jax.Array | np.ndarray) and t.ndim:
        t, channels = check_reals(t, "t").astype(jnp.float32), t.shape[-1]
    else:
        raise TypeError(f"t={t!r} must be an array or a parameterization. jaxlens has no closures as Lucent's image_f.")
    sigmoid = check_flag(sigmoid, "sigmoid")
    mixes, matrix = color.check_matrix(decorrelate)
    if mixes and channels != 3:
        raise ValueError(f"decorrelate=True needs 3 colour channels, but t has {channels}; use decorrelate=False.")
    if hasattr(t, "to_image"):
        return Valid(inner=t, decorrelate=mixes, sigmoid=sigmoid, matrix=matrix)
    return _squash(t, mixes, sigmoid, matrix)


def _squash(t: Float[Array, "*axes c"], decorrelate: bool, sigmoid: bool, matrix: Any = None) -> Float[Array, "*axes c"]:
    if decorrelate:
        t = color.to_rgb(t, matrix)
    if sigmoid:
        return jax.nn.sigmoid(t)
    if decorrelate:
        t = t + color.color_mean.reshape((1,) * (t.ndim - 1) + (3,))
    return constrain_L_inf(2 * t - 1) / 2 + 0.5


def _unsquash(images: Float[Array, "*axes c"], decorrelate: bool, sigmoid: bool, matrix: Any = None) -> Float[Array, "*axes c"]:
    if sigmoid:
        t = jax.scipy.special.logit(jnp.clip(images, LOGIT_MARGIN, 1 - LOGIT_MARGIN))
    else:
        t = jnp.clip(images, 0, 1)
        if decorrelate:
            t = t - color.color_mean.reshape((1,) * (t.ndim - 1) + (3,))
    return color.from_rgb(t, matrix) if decorrelate else t
