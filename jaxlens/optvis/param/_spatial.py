"""Images as pixels or as scaled Fourier coefficients, unbounded."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import SIDE, check_int
from jaxlens._pytree import field, pytree
from jaxlens._types import Number
from jaxlens.optvis.param._base import NotAPair
from jaxlens.optvis.param._types import Shape

LARGEST_SD = 1e12  # larger numbers overflow before they are pixels
STEEPEST = 10.0  # steeper spectra have one frequency, and overflow
SD = 0.01  # Lucid's default standard deviation of fresh parameters
LUCID_DIVISOR = 4.0  # fft_image in lucid/optvis/param/spatial.py: "TODO: is that a magic constant?"


@pytree
class Pixels(NotAPair):
    """See `pixel_image`."""

    shape: tuple[int, int, int, int] = field(static=True)
    sd: float = field(static=True)

    def init(self, key: PRNGKeyArray) -> Float[Array, "b h w c"]:
        """Return Gaussian pixels of deviation `sd`."""
        return jax.random.normal(key, self.shape, jnp.float32) * self.sd

    def to_image(self, theta: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return the pixels themselves."""
        return theta.astype(jnp.float32)

    def from_image(self, images: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return the images themselves."""
        return images.astype(jnp.float32)


@pytree
class Fourier(NotAPair):
    """See `fft_image`."""

    shape: tuple[int, int, int, int] = field(static=True)
    sd: float = field(static=True)
    decay_power: float = field(static=True)

    def init(self, key: PRNGKeyArray) -> Float[Array, "b c h f 2"]:
        """Return Gaussian coefficients of deviation `sd`, not scaled yet."""
        b, h, w, c = self.shape
        return jax.random.normal(key, (b, c, h, w // 2 + 1, 2), jnp.float32) * self.sd

    def to_image(self, theta: Float[Array, "b c h f 2"]) -> Float[Array, "b h w c"]:
        """Return the inverse transform of the scaled coefficients."""
        _, h, w, _ = self.shape
        theta, scale = theta.astype(jnp.float32), self._scale()
        spectrum = jax.lax.complex(theta[..., 0] * scale, theta[..., 1] * scale)
        return jnp.moveaxis(jnp.fft.irfft2(spectrum, s=(h, w)), 1, -1)

    def from_image(self, images: Float[Array, "b h w c"]) -> Float[Array, "b c h f 2"]:
        """Return the coefficients of these images."""
        spectrum, scale = jnp.fft.rfft2(jnp.moveaxis(images.astype(jnp.float32), -1, 1)), self._scale()
        return jnp.stack([spectrum.real / scale, spectrum.imag / scale], axis=-1)

    def _scale(self) -> Float[np.ndarray, "1 1 h f"]:
        _, h, w, _ = self.shape
        frequency = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w))  # cycles per pixel
        scale = np.sqrt(h * w) / np.maximum(frequency, 1 / max(h, w)) ** self.decay_power
        return (scale / LUCID_DIVISOR).astype(np.float32)[None, None]


def pixel_image(shape: Shape, sd: Number | None = None) -> Pixels:
    """Images stored as their pixels, unbounded: see `to_valid_rgb`.

    Args:
        shape: (B, H, W, C) of the images.
        sd: the deviation of the Gaussian start, 0.01 by default.

    Example:
        >>> from jaxlens.optvis import param
        >>> p = param.to_valid_rgb(param.pixel_image((1, 24, 32, 3)), decorrelate=True)
        >>> p.shape
        (1, 24, 32, 3)
    """
    return Pixels(shape=check_shape(shape), sd=check_sd(sd))


def fft_image(shape: Shape, sd: Number | None = None, decay_power: Number = 1) -> Fourier:
    """Images stored as Fourier coefficients scaled to the 1/f spectrum of natural images.

    `x = irfft2(theta * sqrt(h w) / max(f, 1/max(h, w))**decay_power) / 4`, with f in cycles per
    pixel. The scale changes which images are near the start, and so which are found, but not
    which can be expressed. The images are unbounded: see `to_valid_rgb`.

    Exact for every size. Lucid and Lucent keep one column of coefficients more for odd widths,
    which has no effect.

    Args:
        shape: (B, H, W, C) of the images.
        sd: the deviation of the Gaussian start, 0.01 by default.
        decay_power: how steeply the spectrum falls, from -10 to 10: 1 is natural, 0 white noise.

    Returns:
        A parameterization whose theta is float32 `[B, C, H, W // 2 + 1, 2]`: real and imaginary
        parts, in Lucent's layout. Theta is not complex because optimizers treat a complex number
        as a unit (Adam: one second moment for both parts), which is another algorithm, and some
        reject it.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> p = param.fft_image((1, 24, 32, 3))
        >>> theta = p.init(jax.random.key(0))
        >>> theta.shape, p.to_image(theta).shape
        ((1, 3, 24, 17, 2), (1, 24, 32, 3))
    """
    number = isinstance(decay_power, int | float | np.integer | np.floating) and not isinstance(decay_power, bool)
    if not number or not abs(decay_power) <= STEEPEST:
        raise ValueError(f"decay_power={decay_power!r} must be a number from -10 to 10; 1 is natural, 0 white.")
    return Fourier(shape=check_shape(shape), sd=check_sd(sd), decay_power=float(decay_power))


LARGEST = 2**31  # numbers in the images of one task: 8 GiB of them


def check_shape(shape: Any, names: str | tuple[str, str, str, str] = "shape") -> tuple[int, int, int, int]:
    """Return (B, H, W, C) as integers, or raise; `names` has the argument, or the four it is of."""
    if not isinstance(shape, tuple | list | np.ndarray) or len(shape) != 4:
        raise ValueError(f"{names}={shape!r} must be (B, H, W, C).")
    each = [f"{names}[{i}]" for i in range(4)] if isinstance(names, str) else names
    b, h, w, c = (check_int(size, name, low=1) for size, name in zip(shape, each, strict=True))
    if names == "shape" and h in (3, 4) and c > 4:
        raise ValueError(f"{names}={tuple(shape)} looks channels-first; jaxlens uses (B, H, W, C).")
    for size, name in ((w, each[2]), (h, each[1])):
        check_int(size, name, low=1, high=SIDE)
    if b * h * w * c > LARGEST:
        raise ValueError(f"{', '.join(each)} = {b}, {h}, {w}, {c} are {b * h * w * c:.1e} numbers; {LARGEST:.1e} at most.")
    return b, h, w, c


def check_sd(sd: Any) -> float:
    """Return a standard deviation (None: the default), or raise."""
    if sd is None:
        return SD
    if isinstance(sd, bool) or not isinstance(sd, int | float | np.integer | np.floating) or not 0 <= sd <= LARGEST_SD:
        raise ValueError(f"sd={sd!r} must be a number >= 0, at most {LARGEST_SD:g}, or None for {SD}.")
    return float(sd)
