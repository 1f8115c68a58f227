"""Transforms that move the frame and keep the pixels: jitter, roll and crop_or_pad_to."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxlens._checks import SIDE, check_int
from jaxlens._pytree import field, pytree
from jaxlens._types import Number, Whole
from jaxlens.optvis.transform._base import check_call, check_grey
from jaxlens.optvis.transform._draw import below


@pytree
class Jitter:
    """See `jitter`."""

    d: int = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Map `[B, H, W, C]` to `[B, H - d, W - d, C]`."""
        images = check_call(images, "jitter")
        b, h, w, c = images.shape
        if min(h, w) <= self.d:
            raise ValueError(f"jitter d={self.d} leaves nothing of images of {h}x{w}; use a smaller d or pad first.")
        y, x = below(key, self.d + 1, (2,))
        return jax.lax.dynamic_slice(images, (jnp.int32(0), y, x, jnp.int32(0)), (b, h - self.d, w - self.d, c))


@pytree
class CropOrPadTo:
    """See `crop_or_pad_to`."""

    height: int = field(static=True)
    width: int = field(static=True)
    fill: float = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Map `[B, H, W, C]` to `[B, height, width, C]`."""
        images = check_call(images, "crop_or_pad_to")
        for axis, size in ((1, self.height), (2, self.width)):
            start = max(0, (images.shape[axis] - size) // 2)
            images = jax.lax.slice_in_dim(images, start, start + min(size, images.shape[axis]), axis=axis)
            before = (size - images.shape[axis]) // 2
            widths = [(0, 0)] * 4
            widths[axis] = (before, size - images.shape[axis] - before)
            images = jnp.pad(images, widths, constant_values=self.fill)
        return images


@pytree
class Roll:
    """See `roll`."""

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Keep the shape."""
        images = check_call(images, "roll")
        rows, columns = jax.random.split(key)
        down = jnp.roll(images, below(rows, images.shape[1]), 1)
        return jnp.roll(down, below(columns, images.shape[2]), 2)


def roll() -> Roll:
    """Move images by any number of pixels in both directions, around the edges.

    Pixels that leave on one side come in on the other. An image that is optimized under it has no
    border: it tiles the plane (`recipes.tileable`).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> images = jnp.arange(12.0).reshape(1, 3, 4, 1)
        >>> rolled = transform.roll()(jax.random.key(0), images)
        >>> sorted(rolled.ravel().tolist()) == images.ravel().tolist()
        True
    """
    return Roll()


def jitter(d: Whole) -> Jitter:
    """Cut a random crop that is `d` pixels smaller in each direction.

    As in Lucid. Lucent instead moves the image right and down by 0..d-1 pixels, keeps the size and
    fills with black.

    Args:
        d: the largest offset: it is 0..d, inclusive, in each direction.

    Raises:
        ValueError: if `d` is less than 1.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> transform.jitter(8)(jax.random.key(0), jnp.ones((1, 24, 32, 3))).shape
        (1, 16, 24, 3)
    """
    return Jitter(d=check_int(d, "d", low=1))


def crop_or_pad_to(height: Whole, width: Whole, *, fill: Number = 0.5) -> CropOrPadTo:
    """Cut or pad images around the center to a fixed size.

    Differs from Lucid, which pads with black: `fill=0` is Lucid's.

    Args:
        height: the height of the results.
        width: their width.
        fill: the color of the padding.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> frame = transform.crop_or_pad_to(16, 40)
        >>> frame(jax.random.key(0), jnp.ones((1, 24, 32, 3))).shape
        (1, 16, 40, 3)
    """
    return CropOrPadTo(
        height=check_int(height, "height", low=1, high=SIDE),
        width=check_int(width, "width", low=1, high=SIDE),
        fill=check_grey(fill, "fill"),
    )
