"""From unbounded numbers to colors in [0, 1], and back."""

from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_flag, check_reals
from jaxlens._pytree import field, pytree
from jaxlens._types import Flag
from jaxlens.optvis.param import color
from jaxlens.optvis.param._base import Parameterization, Wrapper, theta_of
from jaxlens.optvis.param._types import Colors, Decorrelate, Param

# How far from 0 and 1 the inverse of the sigmoid stays, as in Horama: black and white pixels come
# back wrong by less than half of an 8-bit step, and still have a gradient.
LOGIT_MARGIN = 1e-3


def constrain_L_inf(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Clip to [-1, 1], with a gradient that is zero only where it pushes further outward.

    A pixel that has left the range can come back; plain clipping would hold it forever.

    "Outward" refers to *ascent*: differentiate the score that is maximized, as jaxlens does, and
    negate the gradient for the optimizer afterwards. If you differentiate a loss, the rule is
    reversed. (Lucid has the same formula but differentiates the loss, so there it holds back the
    pixels that return.)

    Args:
        x: any numbers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import param
        >>> x = jnp.array([-2.0, 0.5, 2.0])
        >>> param.constrain_L_inf(x).tolist()
        [-1.0, 0.5, 1.0]
        >>> jax.grad(lambda x: param.constrain_L_inf(x).sum())(x).tolist()
        [1.0, 1.0, 0.0]
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
    """An unbounded parameterization, mapped to [0, 1]; the last channel is opacity if `alpha`."""

    inner: Parameterization
    decorrelate: bool = field(static=True)
    sigmoid: bool = field(static=True)
    alpha: bool = field(static=True, default=False)
    matrix: Float[Array, "3 3"] | None = field(rank=2, default=None)

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """Return images in [0, 1]."""
        t = self.inner.to_image(theta)
        if not self.alpha:
            return _squash(t, self.decorrelate, self.sigmoid, self.matrix)
        rgb = _squash(t[..., :-1], self.decorrelate, self.sigmoid, self.matrix)
        return jnp.concatenate([rgb, _squash(t[..., -1:], False, self.sigmoid)], axis=-1)

    def from_image(self, images: Float[Array, "b h w c"]) -> Any:
        """Return the theta of these images, moved by `LOGIT_MARGIN` from 0 and 1."""
        if not self.alpha:
            return theta_of(self.inner, _unsquash(images, self.decorrelate, self.sigmoid, self.matrix))
        rgb = _unsquash(images[..., :-1], self.decorrelate, self.sigmoid, self.matrix)
        opacity = _unsquash(images[..., -1:], False, self.sigmoid)
        return theta_of(self.inner, jnp.concatenate([rgb, opacity], axis=-1))


@overload
def to_valid_rgb(t: Parameterization, decorrelate: Decorrelate = False, sigmoid: Flag = True) -> Valid: ...
@overload
def to_valid_rgb(t: jax.Array | np.ndarray, decorrelate: Decorrelate = False, sigmoid: Flag = True) -> jax.Array: ...
def to_valid_rgb(t: Param | Colors, decorrelate: Decorrelate = False, sigmoid: Flag = True) -> Any:
    """Map unbounded numbers to colors in [0, 1].

    Args:
        t: an array whose last axis is color, or a parameterization such as `fft_image(shape)`.
        decorrelate: take the numbers as colors in decorrelated axes (see `param.color`). True takes
            Lucid's axes; a 3x3 matrix of any scale has axis j in RGB as its column j, such as
            `param.color.dataset_klt_matrix(images)`.
        sigmoid: squash by a sigmoid. False clips by `constrain_L_inf`, whose gradient rule
            assumes that the score is differentiated and maximized; decorrelated, zero is then the
            mean color of ImageNet.

    Returns:
        An array if `t` is one, else a parameterization.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import param
        >>> param.to_valid_rgb(jnp.zeros(3)).tolist()
        [0.5, 0.5, 0.5]
        >>> p = param.to_valid_rgb(param.fft_image((1, 24, 32, 3)), decorrelate=True)
        >>> p.shape
        (1, 24, 32, 3)
    """
    if isinstance(t, Parameterization):
        channels = t.shape[-1]
    elif isinstance(t, jax.Array | np.ndarray) and t.ndim:
        channels = t.shape[-1]
        check_reals(t, "t")
    else:
        raise TypeError(f"t={t!r} must be an array or a parameterization. jaxlens has no closures as Lucent's image_f.")
    sigmoid = check_flag(sigmoid, "sigmoid")
    mixes, matrix = color.check_matrix(decorrelate)
    if mixes and channels != 3:
        raise ValueError(f"decorrelate=True needs 3 colour channels, but t has {channels}; use decorrelate=False.")
    if isinstance(t, Parameterization):
        return Valid(inner=t, decorrelate=mixes, sigmoid=sigmoid, matrix=matrix)
    return _squash(jnp.asarray(t, jnp.float32), mixes, sigmoid, matrix)


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
