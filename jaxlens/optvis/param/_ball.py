"""Images within a distance of given ones."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_choice, check_number
from jaxlens._numerics import norm_per_image
from jaxlens._pytree import field, pytree
from jaxlens._types import Images, Number, Text
from jaxlens.optvis.param._around import given_images
from jaxlens.optvis.param._base import NotAPair

NORMS = ("L2", "Linf")
EDGE = 1e-4  # how far from a ball's edge, in radii, the inverse of tanh stays


@pytree
class Ball(NotAPair):
    """See `ball`."""

    images: Float[Array, "b h w c"] = field(rank=4)
    radius: Float[Array, ""] = field(rank=0)
    norm: str = field(static=True)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, W, C) of the images."""
        return self.images.shape[-4:]  # type: ignore[return-value]

    def init(self, key: PRNGKeyArray) -> Float[Array, "b h w c"]:
        """Return almost no change: normal numbers of deviation 0.001."""
        return jax.random.normal(key, self.images.shape, jnp.float32) * 1e-3

    def to_image(self, theta: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return images in the ball and in [0, 1]."""
        if self.norm == "Linf":
            change = jnp.tanh(theta)
        else:
            change = theta / jnp.maximum(norm_per_image(theta, 1e-12), 1.0)
        return jnp.clip(self.images + self.radius * change, 0, 1)

    def from_image(self, images: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return the theta of these images, or of the nearest ones in the ball."""
        change = (images - self.images) / self.radius
        return jnp.arctanh(jnp.clip(change, -1 + EDGE, 1 - EDGE)) if self.norm == "Linf" else change


def ball(images: Images, radius: Number, norm: Text = "L2") -> Ball:
    """Images within a distance of given ones and in [0, 1]: adversarial examples.

    For "L2" theta is the change divided by the radius; outside of the ball it is projected onto its
    surface. For "Linf" the change is `radius * tanh(theta)`. Lucid's `unit_ball_L2` and
    `unit_ball_L_inf`, with the image and the radius as arguments.

    Args:
        images: `[H, W, C]` or `[B, H, W, C]` in [0, 1].
        radius: the largest distance, in the units of the images: of an image as a whole for "L2",
            of any single value for "Linf".
        norm: "L2" or "Linf".

    Example:
        >>> import jax, numpy as np
        >>> from jaxlens.optvis import param
        >>> photo = np.full((24, 32, 3), 0.5, np.float32)
        >>> p = param.ball(photo, 0.03, "Linf")
        >>> images = p.to_image(100 * jax.random.normal(jax.random.key(0), p.shape))
        >>> bool(abs(images - photo).max() < 0.0301)
        True
    """
    batch = given_images(images, None)
    batch = jnp.asarray(batch, jnp.float32)
    check_choice(norm, "norm", NORMS)
    radius = check_number(radius, "radius", above=0)
    return Ball(images=batch if batch.ndim == 4 else batch[None], radius=jnp.float32(radius), norm=norm)
