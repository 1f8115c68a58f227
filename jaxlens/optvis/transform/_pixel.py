"""Transforms of values rather than places: noise, blur, gamma, colour; and one of the gradient alone."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_flag
from jaxlens._pytree import field, pytree
from jaxlens.optvis.transform._base import check_call, check_finite
from jaxlens.optvis.transform._draw import Choices, Uniform

Draw = int | float | Sequence[int | float] | Uniform
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL and torchvision


@pytree
class Noise:
    """See `noise`."""

    sd: float = field(static=True)
    spread: float = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Maps `[B, H, W, C]` to the same shape."""
        images = check_call(images, "noise")
        normal, uniform = jax.random.split(key)
        shape = images.shape[1:]  # one draw for all images of a call
        added = self.sd * jax.random.normal(normal, shape, jnp.float32)
        added += self.spread * jax.random.uniform(uniform, shape, jnp.float32, -1.0, 1.0)
        return images + added[None].astype(images.dtype)


@pytree
class Blur:
    """See `blur`."""

    sigmas: Choices | Uniform

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Maps `[B, H, W, C]` to the same shape."""
        images = check_call(images, "blur")
        sigma = jnp.maximum(self.sigmas.draw(key), 1e-3)
        blurred = images.astype(jnp.float32)
        for axis in (1, 2):
            # no pixel is further from another than the image is long
            radius = min(math.ceil(3 * self.sigmas.bounds[1]), blurred.shape[axis] - 1)
            weights = jnp.exp(-0.5 * jnp.square(jnp.arange(-radius, radius + 1, dtype=jnp.float32) / sigma))
            shape = [blurred.shape[axis] if i == axis else 1 for i in range(4)]
            inside = _along(jnp.ones(shape, jnp.float32), axis, weights)  # of the kernel: edges do not darken
            blurred = _along(blurred, axis, weights) / inside
        return blurred.astype(images.dtype)


def _along(x: Float[Array, "b h w c"], axis: int, weights: Float[Array, " k"]) -> Float[Array, "b h w c"]:
    radius, n = len(weights) // 2, x.shape[axis]
    padded = jnp.pad(x, [(radius, radius) if i == axis else (0, 0) for i in range(4)])
    terms = [weights[i] * jax.lax.slice_in_dim(padded, i, i + n, axis=axis) for i in range(len(weights))]
    return functools.reduce(jnp.add, terms)


@pytree
class Flip:
    """See `flip`."""

    horizontal: bool = field(static=True)
    vertical: bool = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Maps `[B, H, W, C]` to the same shape."""
        images = check_call(images, "flip")
        for axis, wanted in ((1, self.vertical), (2, self.horizontal)):
            if wanted:
                heads = jax.random.bernoulli(jax.random.fold_in(key, axis))
                images = jnp.where(heads, jnp.flip(images, axis), images)
        return images


@pytree
class Gamma:
    """See `gamma`."""

    powers: Choices | Uniform

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Maps `[B, H, W, C]` to the same shape."""
        images = check_call(images, "gamma")
        values = jnp.maximum(images.astype(jnp.float32), 1e-4)  # powers below 1 have no gradient at 0
        return (values ** self.powers.draw(key)).astype(images.dtype)


@pytree
class ColorJitter:
    """See `color_jitter`."""

    brightness: float = field(static=True)
    contrast: float = field(static=True)
    saturation: float = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Maps `[B, H, W, 3]` to the same shape."""
        images = check_call(images, "color_jitter")
        if images.shape[-1] != 3:
            raise ValueError(f"color_jitter got images with {images.shape[-1]} channels, but 3 are needed.")
        x, draws = images.astype(jnp.float32), jax.random.uniform(key, (3,), jnp.float32, -1.0, 1.0)
        luma = jnp.asarray(LUMA, jnp.float32).reshape(1, 1, 1, 3)
        x = x * (1 + self.brightness * draws[0])
        mean = (x * luma).sum(-1, keepdims=True).mean((1, 2), keepdims=True)
        x = mean + (x - mean) * (1 + self.contrast * draws[1])
        grey = (x * luma).sum(-1, keepdims=True)
        return (grey + (x - grey) * (1 + self.saturation * draws[2])).astype(images.dtype)


@pytree
class NormalizeGradient:
    """See `normalize_gradient`."""

    scale: float = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """The images themselves."""
        return _normalized(self.scale, check_call(images, "normalize_gradient"))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normalized(scale: float, images: Array) -> Array:
    return images


def _normalized_bwd(scale: float, _: None, g: Array) -> tuple[Array]:
    size = jnp.sqrt(jnp.square(g.astype(jnp.float32)).sum((1, 2, 3), keepdims=True))
    return ((g * (scale / jnp.maximum(size, 1e-20))).astype(g.dtype),)


_normalized.defvjp(lambda scale, images: (images, None), _normalized_bwd)


def noise(sd: Any = 0.0, spread: Any = 0.0) -> Noise:
    """Adds noise, `N(0, sd)` and `U(-spread, spread)` at every value; the same for all images of a call.

    Args:
        sd: deviation of the normal part.
        spread: half the width of the uniform part. xplique's MACO has 0.08 and 0.04.
    """
    sd, spread = check_finite([sd, spread], "(sd, spread)")
    if min(sd, spread) < 0 or max(sd, spread) == 0:
        raise ValueError(f"sd={sd} and spread={spread} must not be negative, and one must be above 0.")
    return Noise(sd=sd, spread=spread)


def blur(sigma: Any) -> Blur:
    """A Gaussian blur; what lies beyond the edge does not count.

    Args:
        sigma: its deviation in pixels: a number, choices, or `transform.uniform(low, high)`.
    """
    return Blur(sigmas=_draw(sigma, "sigma", low=0))


def flip(horizontal: Any = True, vertical: Any = False) -> Flip:
    """Mirrors left and right, and top and bottom if `vertical`, each with probability one half."""
    horizontal, vertical = check_flag(horizontal, "horizontal"), check_flag(vertical, "vertical")
    if not (horizontal or vertical):
        raise ValueError("horizontal=False and vertical=False: a flip of nothing; leave it out.")
    return Flip(horizontal=horizontal, vertical=vertical)


def gamma(power: Any) -> Gamma:
    """Raises values to a power, at least 0.0001 before: `gamma(1 / 2.2)` takes linear light for a display.

    Args:
        power: a number, choices, or `transform.uniform(low, high)`.
    """
    return Gamma(powers=_draw(power, "power", low=0))


def color_jitter(brightness: Any = 0.0, contrast: Any = 0.0, saturation: Any = 0.0) -> ColorJitter:
    """Random brightness, contrast and saturation, each a factor in `1 - value .. 1 + value`, in this order.

    torchvision's `ColorJitter` without the hue, unclipped (a clip has no gradient) and in fixed order.
    """
    values = check_finite([brightness, contrast, saturation], "(brightness, contrast, saturation)")
    if min(values) < 0 or max(values) == 0:
        raise ValueError(f"brightness, contrast, saturation = {values} must not be negative, and one must be above 0.")
    return ColorJitter(brightness=values[0], contrast=values[1], saturation=values[2])


def normalize_gradient(grad_scale: Any = 1.0) -> NormalizeGradient:
    """Changes nothing but the gradient, which is given a norm of `grad_scale` in each image."""
    (scale,) = check_finite([grad_scale], "grad_scale")
    if scale <= 0:
        raise ValueError(f"grad_scale={grad_scale} must be above 0.")
    return NormalizeGradient(scale=scale)


def _draw(value: Any, name: str, *, low: float) -> Choices | Uniform:
    """Where a number is drawn from; all must be above `low`."""
    single = isinstance(value, int | float) and not isinstance(value, bool)
    draw = value if isinstance(value, Uniform) else Choices(values=check_finite([value] if single else value, name))
    if draw.bounds[0] <= low:
        raise ValueError(f"{name}={value!r} must be above {low}.")
    return draw
