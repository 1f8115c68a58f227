"""Transforms of values: noise, blur, flip, gamma, color; and one of the gradient alone."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_flag
from jaxlens._numerics import gaussian, norm_per_image
from jaxlens._pytree import field, pytree
from jaxlens._types import Flag, Number
from jaxlens.optvis.transform._base import check_call, check_finite
from jaxlens.optvis.transform._draw import Choices, Uniform
from jaxlens.optvis.transform._types import Numbers

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL and torchvision


@pytree
class Noise:
    """See `noise`."""

    sd: float = field(static=True)
    spread: float = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Map `[B, H, W, C]` to the same shape."""
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
        """Map `[B, H, W, C]` to the same shape."""
        images = check_call(images, "blur")
        sigma = jnp.maximum(self.sigmas.draw(key), 1e-3)
        blurred = images.astype(jnp.float32)
        for axis in (1, 2):
            # no two pixels are further apart than the image is long
            radius = min(math.ceil(3 * self.sigmas.bounds[1]), blurred.shape[axis] - 1)
            weights = gaussian(jnp.arange(-radius, radius + 1, dtype=jnp.float32), sigma)
            shape = [blurred.shape[axis] if i == axis else 1 for i in range(4)]
            # the share of the kernel that lies inside the image: edges do not darken
            inside = _along(jnp.ones(shape, jnp.float32), axis, weights)
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
        """Map `[B, H, W, C]` to the same shape."""
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
        """Map `[B, H, W, C]` to the same shape."""
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
        """Map `[B, H, W, 3]` to the same shape."""
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
        """Return the images themselves."""
        return _normalized(self.scale, check_call(images, "normalize_gradient"))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normalized(scale: float, images: Array) -> Array:
    return images


def _normalized_bwd(scale: float, _: None, g: Array) -> tuple[Array]:
    size = norm_per_image(g.astype(jnp.float32))
    return ((g * (scale / jnp.maximum(size, 1e-20))).astype(g.dtype),)


_normalized.defvjp(lambda scale, images: (images, None), _normalized_bwd)


def noise(sd: Number = 0.0, spread: Number = 0.0) -> Noise:
    """Add noise to every value: a normal part `N(0, sd)` and a uniform part `U(-spread, spread)`.

    All images of a call get the same noise.

    Args:
        sd: the deviation of the normal part. xplique's MACO has 0.08.
        spread: half the width of the uniform part. xplique's MACO has 0.04.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> noisy = transform.noise(spread=0.1)(jax.random.key(0), jnp.full((1, 24, 32, 3), 0.5))
        >>> bool(abs(noisy - 0.5).max() <= 0.1)
        True
    """
    sd, spread = check_finite([sd, spread], "(sd, spread)")
    if min(sd, spread) < 0 or max(sd, spread) == 0:
        raise ValueError(f"sd={sd} and spread={spread} must not be negative, and one must be above 0.")
    return Noise(sd=sd, spread=spread)


def blur(sigma: Numbers) -> Blur:
    """Blur images by a Gaussian, whose part beyond the edge does not count.

    Args:
        sigma: the deviation in pixels: a number, choices, or `transform.uniform(low, high)`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> blur = transform.blur(transform.uniform(0.5, 1.5))
        >>> blurred = blur(jax.random.key(0), jnp.ones((1, 24, 32, 3)))
        >>> bool(abs(blurred - 1).max() < 1e-6)  # edges do not darken
        True
    """
    return Blur(sigmas=_draw(sigma, "sigma", low=0))


def flip(horizontal: Flag = True, vertical: Flag = False) -> Flip:
    """Mirror images with probability one half in each direction.

    Args:
        horizontal: exchange left and right.
        vertical: exchange top and bottom.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> flip, image = transform.flip(), jnp.arange(3.0).reshape(1, 1, 3, 1)
        >>> keys = jax.random.split(jax.random.key(0), 8)
        >>> sorted({tuple(flip(key, image).ravel().tolist()) for key in keys})
        [(0.0, 1.0, 2.0), (2.0, 1.0, 0.0)]
    """
    horizontal, vertical = check_flag(horizontal, "horizontal"), check_flag(vertical, "vertical")
    if not (horizontal or vertical):
        raise ValueError("horizontal=False and vertical=False: a flip of nothing; leave it out.")
    return Flip(horizontal=horizontal, vertical=vertical)


def gamma(power: Numbers) -> Gamma:
    """Raise values to a power; values below 0.0001 are set to that before.

    `gamma(1 / 2.2)` encodes linear light for a display.

    Args:
        power: a number, choices, or `transform.uniform(low, high)`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> darker = transform.gamma(2)(jax.random.key(0), jnp.full((1, 24, 32, 3), 0.5))
        >>> round(float(darker[0, 0, 0, 0]), 4)
        0.25
    """
    return Gamma(powers=_draw(power, "power", low=0))


def color_jitter(brightness: Number = 0.0, contrast: Number = 0.0, saturation: Number = 0.0) -> ColorJitter:
    """Change brightness, contrast and saturation, in this order, each by a random factor.

    torchvision's `ColorJitter` without the hue, without clipping (a clip has no gradient), and in a
    fixed order.

    Args:
        brightness: its factor is in `1 - brightness .. 1 + brightness`.
        contrast: its factor is in `1 - contrast .. 1 + contrast`.
        saturation: its factor is in `1 - saturation .. 1 + saturation`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> colors = transform.color_jitter(brightness=0.2, saturation=0.4)
        >>> colors(jax.random.key(0), jnp.full((1, 24, 32, 3), 0.5)).shape
        (1, 24, 32, 3)
    """
    values = check_finite([brightness, contrast, saturation], "(brightness, contrast, saturation)")
    if min(values) < 0 or max(values) == 0:
        raise ValueError(f"brightness, contrast, saturation = {values} must not be negative, and one must be above 0.")
    return ColorJitter(brightness=values[0], contrast=values[1], saturation=values[2])


def normalize_gradient(grad_scale: Number = 1.0) -> NormalizeGradient:
    """Leave the images as they are, and scale the gradient of each image to a given norm.

    Args:
        grad_scale: the norm.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> scaled, key = transform.normalize_gradient(2.0), jax.random.key(0)
        >>> gradient = jax.grad(lambda x: scaled(key, x).sum())(jnp.ones((1, 2, 2, 1)))
        >>> gradient.ravel().tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    (scale,) = check_finite([grad_scale], "grad_scale")
    if scale <= 0:
        raise ValueError(f"grad_scale={grad_scale} must be above 0.")
    return NormalizeGradient(scale=scale)


def _draw(value: Any, name: str, *, low: float) -> Choices | Uniform:
    """Return the distribution of a number, or raise unless all its values are above `low`."""
    single = isinstance(value, int | float) and not isinstance(value, bool)
    draw = value if isinstance(value, Uniform) else Choices(values=check_finite([value] if single else value, name))
    if draw.bounds[0] <= low:
        raise ValueError(f"{name}={value!r} must be above {low}.")
    return draw
