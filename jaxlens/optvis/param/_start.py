"""Any parameterization, started at given images."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_images, check_int, check_number
from jaxlens._pytree import pytree
from jaxlens.optvis.param._base import Wrapper, check_inner
from jaxlens.optvis.param._image import StartingAt
from jaxlens.optvis.param._pyramid import Total


@pytree
class StartingFrom(Wrapper):
    """A parameterization that starts at a theta."""

    inner: Any
    theta: Any

    def init(self, key: PRNGKeyArray) -> Any:
        """The theta."""
        return self.theta

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """The inner parameterization's images."""
        return self.inner.to_image(theta)


def starting_at(param: Any, images: Any, steps: Any = 1000, rate: Any = 0.05) -> StartingAt | StartingFrom:
    """A parameterization that starts at given images instead of its own start.

    Pixels, Fourier coefficients, pyramids, `aligned`, balls, masks and what is around them have an inverse: they start exactly
    there (within 0.001 of 0 and 1 as `param.image(init=...)` says; what a ball or mask cannot show is left out). Others
    (`cppn`, `generator`, `lowres_tensor`, functions of your own) are fitted: Adam on the mean squared difference.

    Args:
        param: any parameterization.
        images: `[H, W, C]` or `[B, H, W, C]` in [0, 1]; one image serves all B.
        steps: of the fit.
        rate: its learning rate; 0.005 suits a CPPN, 0.05 most others.

    Returns: a parameterization. `p.to_image(p.init(key))` shows how near it starts.
    """
    shape = check_inner(param, "param")
    given = check_images(images, name="images", channels=shape[-1], batched=getattr(images, "ndim", 0) == 4)
    batch = jnp.asarray(given, jnp.float32)
    batch = batch if batch.ndim == 4 else batch[None]
    steps, rate = check_int(steps, "steps", low=0, high=10**7), check_number(rate, "rate", above=0)
    if batch.shape[1:] != shape[1:] or batch.shape[0] not in (1, shape[0]):
        raise ValueError(f"images have shape {batch.shape}, but param makes {shape}: resize them first.")
    batch = jnp.broadcast_to(batch, shape)
    if _invertible(param):
        return StartingAt(inner=param, images=batch, noisy=False)
    return StartingFrom(inner=param, theta=_fit(param, batch, jnp.float32(rate), steps))


def _invertible(param: Any) -> bool:
    """Whether `from_image` works, all the way in."""
    if type(param) is Total:
        return _invertible(param.parts[0])
    return hasattr(param, "from_image") and (not hasattr(param, "inner") or _invertible(param.inner))


@functools.partial(jax.jit, static_argnames=("steps",))
def _fit(param: Any, images: Array, rate: Array, steps: int) -> Any:
    optimizer = optax.scale_by_adam()

    def loss(theta: Any) -> Array:
        return jnp.square(param.to_image(theta) - images).mean()

    def step(_: Array, state: Any) -> Any:
        theta, memory = state
        updates, memory = optimizer.update(jax.grad(loss)(theta), memory)
        return jax.tree.map(lambda t, u: t - rate * u, theta, updates), memory

    theta = param.init(jax.random.key(0))
    return jax.lax.fori_loop(0, steps, step, (theta, optimizer.init(theta)))[0]
