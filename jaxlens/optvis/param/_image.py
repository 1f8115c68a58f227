"""`param.image`, the default parameterization."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_flag, check_images, check_int
from jaxlens._pytree import field, pytree
from jaxlens._types import Flag, Images, Number, Whole
from jaxlens.optvis.param import color
from jaxlens.optvis.param._base import Parameterization, Wrapper, theta_of
from jaxlens.optvis.param._spatial import check_shape, fft_image, pixel_image
from jaxlens.optvis.param._types import Decorrelate
from jaxlens.optvis.param._valid import Valid


@pytree
class StartingAt(Wrapper):
    """A parameterization that starts at given images; `noisy` adds the inner start to theirs."""

    inner: Parameterization
    images: Float[Array, "b h w c"] = field(rank=4)
    noisy: bool = field(static=True)

    def init(self, key: PRNGKeyArray) -> Any:
        """Return the theta of the given images."""
        theta = theta_of(self.inner, self.images)
        return jax.tree.map(jnp.add, theta, self.inner.init(key)) if self.noisy else theta

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """Return the inner images."""
        return self.inner.to_image(theta)


def image(
    w: Whole | None = None,
    h: Whole | None = None,
    batch: Whole | None = None,
    sd: Number | None = None,
    decorrelate: Decorrelate = True,
    fft: Flag = True,
    alpha: Flag = False,
    channels: Whole | None = None,
    *,
    sigmoid: Flag = True,
    init: Images | None = None,
    decay_power: Number = 1.0,
) -> Valid | StartingAt:
    """Images in [0, 1], by default as decorrelated Fourier coefficients under a sigmoid.

    The arguments and defaults are those of Lucid and Lucent, in Lucid's order. Differs from both:
    `sd=0` means 0.

    Args:
        w: the width. May be left out if `init` is given.
        h: the height; `w` by default.
        batch: how many images one task has; 1 by default.
        sd: the deviation of the Gaussian start, 0.01 by default. With `init`: the deviation of
            noise that is added to its theta, none by default.
        decorrelate: optimize in decorrelated colors. A 3x3 matrix gives axes of your own (see
            `to_valid_rgb`).
        fft: store Fourier coefficients (see `fft_image`) rather than pixels.
        alpha: add a fourth channel, opacity, with a sigmoid of its own.
        channels: any number of channels, under a plain sigmoid and not decorrelated.
        sigmoid: False clips instead (see `to_valid_rgb`).
        init: images in [0, 1] to start from, `[H, W, C]` or `[B, H, W, C]`. They come back as
            they were, except that values within 0.001 of 0 and 1 are moved to where the sigmoid
            still has a gradient.
        decay_power: how steeply the spectrum of the start falls (see `fft_image`).

    Raises:
        TypeError: if an argument is of the wrong type, such as an `init` of integers.
        ValueError: if sizes are missing or contradict `init`, or `init` has another layout or
            range.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> p = param.image(64, 48, batch=2)
        >>> p.shape
        (2, 48, 64, 3)
        >>> images = p.to_image(p.init(jax.random.key(0)))
        >>> bool((images >= 0).all() and (images <= 1).all())
        True

        Start at a picture of your own:

        >>> p = param.image(init=images[0])
    """
    if batch is not None and isinstance(batch, float):
        raise TypeError(f"batch={batch} must be an integer. Lucent's third argument is sd: write sd={batch}.")
    given = {"batch": batch, "h": h, "w": w, "channels": channels}
    given = {name: None if n is None else check_int(n, name, low=1) for name, n in given.items()}
    flags = {"fft": fft, "alpha": alpha, "sigmoid": sigmoid}
    fft, alpha, sigmoid = (check_flag(value, name) for name, value in flags.items())
    if alpha and channels is not None:
        raise ValueError(f"alpha=True and channels={channels} exclude each other; alpha has 4 channels.")
    count = given["channels"] or (4 if alpha else 3)
    start = None if init is None else _check_init(init, count)
    if start is not None:
        own = start.shape
    elif w is not None:
        own = (1, w, w, count)
    else:
        raise ValueError("w=None leaves the size open; give w, or an init image to take the size from.")
    size = (given["batch"] or own[0], given["h"] or given["w"] or own[1], given["w"] or own[2], count)
    if start is not None and (own[0] not in (1, size[0]) or own[1:] != size[1:]):
        raise ValueError(
            f"init has shape {own}, but batch={batch}, h={h}, w={w} ask for {size}. Leave them out, or resize init first."
        )

    size = check_shape(size, ("batch", "h", "w", "channels"))
    inner = fft_image(size, sd, decay_power) if fft else pixel_image(size, sd)
    mixes, matrix = color.check_matrix(decorrelate if channels is None else False)
    valid = Valid(inner=inner, decorrelate=mixes, sigmoid=sigmoid, alpha=alpha, matrix=matrix)
    if start is None:
        return valid
    return StartingAt(inner=valid, images=jnp.broadcast_to(start, size), noisy=sd is not None)


def _check_init(init: Any, channels: int) -> Float[Array, "b h w c"]:
    """Return the initial images as float32 `[B, H, W, C]`, or raise."""
    batched = getattr(init, "ndim", 0) == 4
    images = check_images(init, name="init", channels=channels, batched=batched).astype(jnp.float32)
    return images if batched else images[None]
