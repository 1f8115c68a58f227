"""Opacity: images `[..., 4]` in front of a background."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxlens._pytree import field, pytree
from jaxlens._types import Number
from jaxlens.optvis.param._spatial import fft_image
from jaxlens.optvis.param._valid import to_valid_rgb
from jaxlens.optvis.transform._base import check_call, check_finite


@pytree
class CollapseAlpha:
    """See `collapse_alpha_random`."""

    sd: float = field(static=True)
    decay_power: float = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Map `[B, H, W, 4]` to `[B, H, W, 3]`."""
        images = check_call(images, "collapse_alpha_random")
        if images.shape[-1] != 4:
            raise ValueError(
                f"collapse_alpha_random got images with {images.shape[-1]} channels, but 4 are needed: "
                "`param.image(..., alpha=True)`."
            )
        background = to_valid_rgb(fft_image((1, *images.shape[1:3], 3), self.sd, self.decay_power), decorrelate=True)
        behind = jax.lax.stop_gradient(background.to_image(background.init(key))).astype(images.dtype)
        alpha = images[..., 3:]
        return jnp.asarray(alpha * images[..., :3] + (1 - alpha) * behind)


def collapse_alpha_random(sd: Number = 0.5, decay_power: Number = 1.0) -> CollapseAlpha:
    """Put images with opacity in front of a random background: `a rgb + (1 - a) background`.

    Every call draws a new background, so the opaque part becomes the part that the objective needs.
    The rest may be anything.

    Args:
        sd: how strong the colors of the background are; it is drawn as the start of `param.image`.
        decay_power: how much coarse structure outweighs fine structure (1.5 in Lucid's transparency
            notebook, with sd 0.2).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> collapse = transform.collapse_alpha_random()
        >>> collapse(jax.random.key(0), jnp.ones((1, 24, 32, 4))).shape
        (1, 24, 32, 3)
    """
    sd, decay_power = check_finite([sd, decay_power], "(sd, decay_power)")
    if sd < 0:
        raise ValueError(f"sd={sd} must not be negative.")
    return CollapseAlpha(sd=sd, decay_power=decay_power)
