"""Crops at random places: of one size, or boxes of many sizes that are resampled to one."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import as_size, check_int
from jaxlens._pytree import field, pytree
from jaxlens._types import Number, Size, Whole
from jaxlens.optvis.transform._base import check_call, check_finite
from jaxlens.optvis.transform._draw import below
from jaxlens.optvis.transform._types import Interval


@pytree
class RandomCrop:
    """See `random_crop`."""

    height: int = field(static=True)
    width: int = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Map `[B, H, W, C]` to `[B, height, width, C]`."""
        images = check_call(images, "random_crop")
        b, h, w, c = images.shape
        if self.height > h or self.width > w:
            raise ValueError(f"random_crop of {self.height}x{self.width} does not fit in images of {h}x{w}.")
        rows, columns = jax.random.split(key)
        y, x = below(rows, h - self.height + 1), below(columns, w - self.width + 1)
        return jax.lax.dynamic_slice(images, (jnp.int32(0), y, x, jnp.int32(0)), (b, self.height, self.width, c))


@pytree
class RandomBoxes:
    """See `random_boxes`."""

    count: int = field(static=True)
    size: tuple[int, int] = field(static=True)
    box: Float[Array, "2"]
    center_sd: float | None = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Map `[B, H, W, C]` to `[count * B, *size, C]`, the crops of an image side by side."""
        images = check_call(images, "random_boxes")
        side, place = jax.random.split(key)
        sides = jax.random.uniform(side, (self.count,), jnp.float32, self.box[0], self.box[1])
        if self.center_sd is None:  # anywhere inside
            centers = 0.5 + (jax.random.uniform(place, (self.count, 2), jnp.float32) - 0.5) * (1 - sides[:, None])
        else:
            centers = 0.5 + self.center_sd * jax.random.normal(place, (self.count, 2), jnp.float32)
        crops = jax.vmap(self._crop, (None, 0, 0))(images.astype(jnp.float32), sides, centers)
        return jnp.moveaxis(crops, 0, 1).reshape(-1, *self.size, images.shape[-1]).astype(images.dtype)

    def _crop(self, images: Array, side: Array, center: Array) -> Array:
        pixels = jnp.asarray(images.shape[1:3], jnp.float32)
        scale = jnp.asarray(self.size, jnp.float32) / (side * pixels)
        translation = -(center - side / 2) * pixels * scale
        shape = (images.shape[0], *self.size, images.shape[-1])
        return jax.image.scale_and_translate(images, shape, (1, 2), scale, translation, "linear", antialias=True)


def random_crop(height: Whole, width: Whole | None = None) -> RandomCrop:
    """Cut a part of fixed size from a random place.

    Args:
        height: the height of the part.
        width: its width; `height` by default.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> crop = transform.random_crop(16, 20)
        >>> crop(jax.random.key(0), jnp.ones((1, 24, 32, 3))).shape
        (1, 16, 20, 3)
    """
    height = check_int(height, "height", low=1)
    return RandomCrop(height=height, width=height if width is None else check_int(width, "width", low=1))


def random_boxes(
    count: Whole,
    size: Size,
    box: Interval = (0.2, 0.25),
    center_sd: Number | None = 0.15,
) -> RandomBoxes:
    """Cut several random parts from each image and resample them to one size: MACO's crops.

    Resampling is bilinear, and blurs where it shrinks. Horama's code draws sides between 1.25 and
    1.5 times its `box_size`, which is 0.25..0.3 by default; here `box` means what it says.

    Args:
        count: how many parts of each image. A task of B images has `count * B` afterwards, those
            of one image side by side. Objectives that take the mean over images need no change.
        size: height and width of the results.
        box: the interval of the sides of the parts, as fractions of those of the image.
        center_sd: the deviation of their centers from the middle, as a fraction of the image.
            Parts may reach outside, where there is black. None puts them anywhere inside, with
            equal density.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> boxes = transform.random_boxes(6, (16, 20), box=(0.2, 0.5))
        >>> boxes(jax.random.key(0), jnp.ones((1, 24, 32, 3))).shape
        (6, 16, 20, 3)
    """
    low, high = check_finite(box, "box", count=2)
    if not 0 < low <= high or high > 1:
        raise ValueError(f"box={box} must be two fractions of the image in ascending order, such as (0.2, 0.25).")
    if center_sd is not None and check_finite([center_sd], "center_sd")[0] < 0:
        raise ValueError(f"center_sd={center_sd} must not be negative.")
    height, width = as_size(size, "size")
    return RandomBoxes(
        count=check_int(count, "count", low=1, high=10**6),
        size=(height, width),
        box=jnp.asarray((low, high), jnp.float32),
        center_sd=None if center_sd is None else float(center_sd),
    )
