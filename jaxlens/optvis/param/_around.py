"""Wrappers that complete what another parameterization draws: masks, fixed images, gray images."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_images, check_reals, check_some
from jaxlens._pytree import field, pytree
from jaxlens._types import Images
from jaxlens.optvis.param._base import Parameterization, Wrapper, check_inner, theta_of
from jaxlens.optvis.param._types import Mask, Param


@pytree
class Masked(Wrapper):
    """See `masked`."""

    inner: Parameterization
    images: Float[Array, "b h w c"] = field(rank=4)
    mask: Float[Array, "b h w 1"] = field(rank=4)

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """Return the inner images where the mask is 1, and the given ones where it is 0."""
        return self.inner.to_image(theta) * self.mask + self.images * (1 - self.mask)

    def from_image(self, images: Float[Array, "b h w c"]) -> Any:
        """Return the inner theta of these images, as near as [0, 1] allows.

        Where the mask is 0, theta has no influence on the images.
        """
        drawn = (images - self.images * (1 - self.mask)) / jnp.maximum(self.mask, 1e-6)
        return theta_of(self.inner, jnp.where(self.mask > 0, jnp.clip(drawn, 0, 1), images))


@pytree
class Beside(Wrapper):
    """See `beside`."""

    inner: Parameterization
    images: Float[Array, "n h w c"] = field(rank=4)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B + N, H, W, C)."""
        return (self.inner.shape[0] + self.images.shape[-4], *self.inner.shape[1:])

    def to_image(self, theta: Any) -> Float[Array, "bn h w c"]:
        """Return the inner images, then the given ones."""
        return jnp.concatenate([self.inner.to_image(theta), self.images])

    def from_image(self, images: Float[Array, "bn h w c"]) -> Any:
        """Return the theta of the first B of these images; the given ones stay."""
        return theta_of(self.inner, images[: self.inner.shape[0]])


@pytree
class Gray(Wrapper):
    """See `grayscale`."""

    inner: Parameterization

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, W, 3)."""
        return (*self.inner.shape[:3], 3)

    def to_image(self, theta: Any) -> Float[Array, "b h w 3"]:
        """Return the one channel of the inner images three times."""
        return jnp.repeat(self.inner.to_image(theta), 3, axis=-1)

    def from_image(self, images: Float[Array, "b h w 3"]) -> Any:
        """Return the theta of the mean of the three channels."""
        return theta_of(self.inner, images.mean(-1, keepdims=True))


def beside(inner: Param, images: Images) -> Beside:
    """Images to be drawn, followed by given images that stay as they are.

    An objective can compare the two under the same transforms.

    Args:
        inner: a parameterization of B images.
        images: `[H, W, C]` or `[N, H, W, C]` in [0, 1], of the size of `inner`. The first one is
            image number B of a task.

    Example:
        >>> import numpy as np
        >>> from jaxlens.optvis import param
        >>> photo = np.full((24, 32, 3), 0.5, np.float32)
        >>> param.beside(param.image(32, 24), photo).shape
        (2, 24, 32, 3)
    """
    shape = check_inner(inner)
    given = given_images(images, shape[-1])
    given = jnp.asarray(given, jnp.float32)
    if given.shape[-3:] != shape[1:]:
        raise ValueError(f"images are {given.shape[-3:]}, but inner makes {shape[1:]}: resize them first.")
    return Beside(inner=inner, images=given if given.ndim == 4 else given[None])


def masked(inner: Param, images: Images, mask: Mask) -> Masked:
    """Given images of which only a part is optimized.

    Args:
        inner: the parameterization that fills the part where the mask is 1.
        images: `[H, W, C]` or `[B, H, W, C]` in [0, 1], kept where the mask is 0.
        mask: `[H, W]` or `[B, H, W]` in [0, 1]. Numbers between 0 and 1 mix the two.

    Example:
        >>> import jax, numpy as np
        >>> from jaxlens.optvis import param
        >>> photo = np.full((24, 32, 3), 0.5, np.float32)
        >>> mask = np.zeros((24, 32))
        >>> mask[6:18, 8:24] = 1  # only the middle may change
        >>> p = param.masked(param.image(32, 24), photo, mask)
        >>> images = p.to_image(p.init(jax.random.key(0)))
        >>> bool((images[0, :6] == 0.5).all())
        True
    """
    shape = check_inner(inner)
    batch = given_images(images, shape[-1])
    mask = np.asarray(mask, np.float32) if isinstance(mask, np.ndarray | jax.Array) and mask.dtype == bool else mask
    weights = check_reals(mask, "mask").astype(jnp.float32)
    if weights.ndim not in (2, 3) or weights.shape[-2:] != shape[1:3] or batch.shape[-3:-1] != shape[1:3]:
        raise ValueError(f"images {batch.shape} and mask {weights.shape} must be of the size of inner, {shape[1:3]}.")
    if not bool(((weights >= 0) & (weights <= 1)).all()):
        raise ValueError(f"mask has values in [{float(weights.min()):.3g}, {float(weights.max()):.3g}], not in [0, 1].")
    weights = weights.reshape(-1, *shape[1:3], 1)
    return Masked(
        inner=inner,
        images=jnp.broadcast_to(batch.astype(jnp.float32).reshape(-1, *shape[1:]), shape),
        mask=jnp.broadcast_to(weights, (*shape[:3], 1)),
    )


def grayscale(inner: Param) -> Gray:
    """Gray images for networks that take colors: the one channel of `inner`, three times.

    Args:
        inner: a parameterization of one channel, such as `param.image(128, channels=1)`.

    Example:
        >>> from jaxlens.optvis import param
        >>> param.grayscale(param.image(32, 24, channels=1)).shape
        (1, 24, 32, 3)
    """
    if check_inner(inner)[-1] != 1:
        raise ValueError(f"inner makes {inner.shape[-1]} channels, but 1 is needed: param.image(128, channels=1).")
    return Gray(inner=inner)


def given_images(images: Any, channels: int | None) -> jax.Array:
    """Return images from the user, one or a batch, or raise."""
    return check_some(check_images(images, channels=channels, batched=None))
