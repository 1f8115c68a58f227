"""Any parameterization, started at given images."""

import functools
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_images, check_int, check_number
from jaxlens._pytree import pytree
from jaxlens._types import Images, Number, Whole
from jaxlens.optvis.param._base import Invertible, Parameterization, Wrapper, check_inner
from jaxlens.optvis.param._image import StartingAt
from jaxlens.optvis.param._pyramid import Total
from jaxlens.optvis.param._types import Param


@pytree
class StartingFrom(Wrapper):
    """A parameterization that starts at a theta."""

    inner: Parameterization
    theta: Any

    def init(self, key: PRNGKeyArray) -> Any:
        """Return the theta that was given."""
        return self.theta

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """Return the inner images."""
        return self.inner.to_image(theta)


def starting_at(param: Param, images: Images, steps: Whole = 1000, rate: Number = 0.05) -> StartingAt | StartingFrom:
    """Make a parameterization start at given images.

    Pixels, Fourier coefficients, pyramids, `aligned`, balls, masks and the parameterizations
    around them have an inverse: they start exactly there (within 0.001 of 0 and 1 as
    `param.image(init=...)` says), except for what a ball or a mask cannot show. All others
    (`cppn`, `generator`, `lowres_tensor`, functions of your own) are fitted by Adam to the mean
    squared difference.

    Args:
        param: any parameterization.
        images: `[H, W, C]` or `[B, H, W, C]` in [0, 1]. One image serves all B.
        steps: steps of the fit.
        rate: the learning rate of the fit. 0.005 suits a CPPN, 0.05 most others.

    Returns:
        A parameterization. `p.to_image(p.init(key))` shows how near it starts.

    Example:
        >>> import jax, numpy as np
        >>> from jaxlens.optvis import param
        >>> photo = np.full((24, 32, 3), 0.25, np.float32)
        >>> pyramid = param.to_valid_rgb(param.laplacian_pyramid_image((1, 24, 32, 3), 2))
        >>> p = param.starting_at(pyramid, photo)
        >>> bool(abs(p.to_image(p.init(jax.random.key(0))) - photo).max() < 0.001)
        True
    """
    shape = check_inner(param, "param")
    given = check_images(images, name="images", channels=shape[-1], batched=None)
    batch = jnp.asarray(given, jnp.float32)
    batch = batch if batch.ndim == 4 else batch[None]
    steps, rate = check_int(steps, "steps", low=0, high=10**7), check_number(rate, "rate", above=0)
    if batch.shape[1:] != shape[1:] or batch.shape[0] not in (1, shape[0]):
        raise ValueError(f"images have shape {batch.shape}, but param makes {shape}: resize them first.")
    batch = jnp.broadcast_to(batch, shape)
    if is_invertible(param):
        return StartingAt(inner=param, images=batch, noisy=False)
    return StartingFrom(inner=param, theta=_fit(param, batch, jnp.float32(rate), steps))


def is_invertible(param: Any) -> TypeGuard[Invertible]:
    """Whether `from_image` works; that of a wrapper needs the inner parameterization's."""
    if type(param) is Total:  # a pyramid needs none
        return is_invertible(param.parts[0])
    inner = getattr(param, "inner", None)
    return isinstance(param, Invertible) and (inner is None or is_invertible(inner))


@functools.partial(jax.jit, static_argnames=("steps",))
def _fit(param: Parameterization, images: Array, rate: Array, steps: int) -> Any:
    optimizer = optax.scale_by_adam()

    def loss(theta: Any) -> Array:
        return jnp.square(param.to_image(theta) - images).mean()

    def step(_: Array, state: Any) -> Any:
        theta, memory = state
        updates, memory = optimizer.update(jax.grad(loss)(theta), memory)
        return jax.tree.map(lambda t, u: t - rate * u, theta, updates), memory

    theta = param.init(jax.random.key(0))
    return jax.lax.fori_loop(0, steps, step, (theta, optimizer.init(theta)))[0]
