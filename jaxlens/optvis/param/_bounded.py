"""Parameterizations that stay near an image: within a ball, or outside of a mask."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_choice, check_images, check_number, check_reals, check_some
from jaxlens._pytree import field, pytree
from jaxlens.optvis.param._base import Whole, Wrapper, check_inner

NORMS = ("L2", "Linf")
EDGE = 1e-4  # how far from a ball's edge, in radii, the inverse of tanh stays


@pytree
class Ball(Whole):
    """See `ball`."""

    images: Float[Array, "b h w c"] = field(rank=4)
    radius: Float[Array, ""] = field(rank=0)
    norm: str = field(static=True)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, W, C) of the images."""
        return self.images.shape[-4:]  # type: ignore[return-value]

    def init(self, key: PRNGKeyArray) -> Float[Array, "b h w c"]:
        """No change; for the L2 ball, whose directions all count, a little noise."""
        return jax.random.normal(key, self.images.shape, jnp.float32) * 1e-3

    def to_image(self, theta: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Images in the ball and in [0, 1]."""
        if self.norm == "Linf":
            change = jnp.tanh(theta)
        else:
            size = jnp.sqrt(jnp.square(theta).sum((1, 2, 3), keepdims=True) + 1e-12)
            change = theta / jnp.maximum(size, 1.0)
        return jnp.clip(self.images + self.radius * change, 0, 1)

    def from_image(self, images: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The theta of these images, or of the nearest ones in the ball."""
        change = (images - self.images) / self.radius
        return jnp.arctanh(jnp.clip(change, -1 + EDGE, 1 - EDGE)) if self.norm == "Linf" else change


@pytree
class Masked(Wrapper):
    """See `masked`."""

    inner: Any
    images: Float[Array, "b h w c"] = field(rank=4)
    mask: Float[Array, "b h w 1"] = field(rank=4)

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """The inner images where the mask is 1, the given ones where it is 0."""
        return self.inner.to_image(theta) * self.mask + self.images * (1 - self.mask)

    def from_image(self, images: Float[Array, "b h w c"]) -> Any:
        """The inner theta that gives these images, as near as [0, 1] allows; anything where the mask is 0."""
        drawn = (images - self.images * (1 - self.mask)) / jnp.maximum(self.mask, 1e-6)
        return self.inner.from_image(jnp.where(self.mask > 0, jnp.clip(drawn, 0, 1), images))


@pytree
class Beside(Wrapper):
    """See `beside`."""

    inner: Any
    images: Float[Array, "n h w c"] = field(rank=4)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B + N, H, W, C)."""
        return (self.inner.shape[0] + self.images.shape[-4], *self.inner.shape[1:])

    def to_image(self, theta: Any) -> Float[Array, "bn h w c"]:
        """The inner images, then the given ones."""
        return jnp.concatenate([self.inner.to_image(theta), self.images])

    def from_image(self, images: Float[Array, "bn h w c"]) -> Any:
        """The theta of the first of these images; the given ones stay."""
        return self.inner.from_image(images[: self.inner.shape[0]])


@pytree
class Gray(Wrapper):
    """See `grayscale`."""

    inner: Any

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, W, 3)."""
        return (*self.inner.shape[:3], 3)

    def to_image(self, theta: Any) -> Float[Array, "b h w 3"]:
        """The inner images' one channel, three times."""
        return jnp.repeat(self.inner.to_image(theta), 3, axis=-1)

    def from_image(self, images: Float[Array, "b h w 3"]) -> Any:
        """The theta of the mean of the three channels."""
        return self.inner.from_image(images.mean(-1, keepdims=True))


def ball(images: Any, radius: Any, norm: Any = "L2") -> Ball:
    """Images within a distance of given ones, and in [0, 1]: adversarial examples.

    Args:
        images: `[H, W, C]` or `[B, H, W, C]` in [0, 1].
        radius: the largest distance, in the units of the images: for "L2" of an image as a whole, for "Linf" of any value.
        norm: "L2" or "Linf".

    Inside the L2 ball theta is the change divided by the radius, and it is projected from outside; for Linf the change is
    `radius * tanh(theta)`. Lucid's `unit_ball_L2` and `unit_ball_L_inf`, with the image and the radius given.
    """
    batch = _given(images, None)
    batch = jnp.asarray(batch, jnp.float32)
    check_choice(norm, "norm", NORMS)
    radius = check_number(radius, "radius", above=0)
    return Ball(images=batch if batch.ndim == 4 else batch[None], radius=jnp.float32(radius), norm=norm)


def beside(inner: Any, images: Any) -> Beside:
    """Images to be drawn, and after them given ones that stay: an objective can compare the two under the same transforms.

    Args:
        inner: a parameterization of B images.
        images: `[H, W, C]` or `[N, H, W, C]` in [0, 1], of the same size. The first is image number B of a task.
    """
    shape = check_inner(inner)
    given = _given(images, shape[-1])
    given = jnp.asarray(given, jnp.float32)
    if given.shape[-3:] != shape[1:]:
        raise ValueError(f"images are {given.shape[-3:]}, but inner makes {shape[1:]}: resize them first.")
    return Beside(inner=inner, images=given if given.ndim == 4 else given[None])


def masked(inner: Any, images: Any, mask: Any) -> Masked:
    """Changes only part of given images.

    Args:
        inner: a parameterization, which fills the part where the mask is 1.
        images: `[H, W, C]` or `[B, H, W, C]` in [0, 1], kept where the mask is 0.
        mask: `[H, W]` or `[B, H, W]`, numbers in [0, 1]; between, both are mixed.
    """
    shape = check_inner(inner)
    batch = _given(images, shape[-1])
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


def grayscale(inner: Any) -> Gray:
    """Grey images for networks that take colours: the one channel of `inner` (`param.image(128, channels=1)`), three times."""
    if check_inner(inner)[-1] != 1:
        raise ValueError(f"inner makes {inner.shape[-1]} channels, but 1 is needed: param.image(128, channels=1).")
    return Gray(inner=inner)


def _given(images: Any, channels: int | None) -> jax.Array:
    """Images that a user gave, one or a batch."""
    return check_some(check_images(images, channels=channels, batched=getattr(images, "ndim", 0) == 4))
