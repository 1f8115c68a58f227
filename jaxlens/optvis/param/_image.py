"""`param.image`, the parameterization that most renders use."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_flag, check_images, check_int
from jaxlens._pytree import field, pytree
from jaxlens.optvis.param import color
from jaxlens.optvis.param._base import Wrapper
from jaxlens.optvis.param._spatial import check_shape, fft_image, pixel_image
from jaxlens.optvis.param._valid import Valid


@pytree
class StartingAt(Wrapper):
    """A parameterization that starts at given images, with noise in theta if `noisy`."""

    inner: Any
    images: Float[Array, "b h w c"] = field(rank=4)
    noisy: bool = field(static=True)

    def init(self, key: PRNGKeyArray) -> Any:
        """The theta of the given images."""
        theta = self.inner.from_image(self.images)
        return jax.tree.map(jnp.add, theta, self.inner.init(key)) if self.noisy else theta

    def to_image(self, theta: Any) -> Float[Array, "b h w c"]:
        """Images in [0, 1]."""
        return self.inner.to_image(theta)


def image(
    w: Any = None,
    h: Any = None,
    batch: Any = None,
    sd: Any = None,
    decorrelate: Any = True,
    fft: Any = True,
    alpha: Any = False,
    channels: Any = None,
    *,
    sigmoid: Any = True,
    init: Any = None,
    decay_power: Any = 1.0,
) -> Valid | StartingAt:
    """Images in [0, 1] for visualization, by default as decorrelated Fourier coefficients under a sigmoid.

    Args:
        w: the width, and the height unless `h` is given; may be left out if `init` is given.
        h: the height.
        batch: how many images one task has; 1 by default.
        sd: the deviation of the Gaussian start, 0.01 by default. With `init`: of noise added to its theta, none by default.
        decorrelate: optimize in decorrelated colours; a 3x3 matrix for axes of your own (see `to_valid_rgb`).
        fft: Fourier coefficients (see `fft_image`) rather than pixels.
        alpha: add a fourth channel, opacity, with a sigmoid of its own.
        channels: any number of channels, under a plain sigmoid and not decorrelated.
        sigmoid: False clips instead (see `to_valid_rgb`).
        init: images in [0, 1] to start from, `[H, W, C]` or `[B, H, W, C]`; they come back as they were, except that values
            within 0.001 of 0 and 1 are moved in to where the sigmoid still has a gradient.
        decay_power: of `fft_image`.

    Raises:
        TypeError: if an argument is of the wrong type, as an `init` of integers.
        ValueError: if sizes are missing or contradict `init`, or `init` has another layout or range.

    The arguments and defaults of Lucid and Lucent; their order is Lucid's. Differs from both in that `sd=0` means 0.
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
    """The initial images as float32 `[B, H, W, C]`, or an error."""
    batched = getattr(init, "ndim", 0) == 4
    images = check_images(init, name="init", channels=channels, batched=batched).astype(jnp.float32)
    return images if batched else images[None]
