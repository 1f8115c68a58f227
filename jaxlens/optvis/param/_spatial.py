"""Images as pixels or as scaled Fourier coefficients, unbounded."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_int
from jaxlens._pytree import field, pytree

SD = 0.01  # Lucid's default standard deviation of fresh parameters
LUCID_DIVISOR = 4.0  # fft_image in lucid/optvis/param/spatial.py: "TODO: is that a magic constant?"


@pytree
class Pixels:
    """See `pixel_image`."""

    shape: tuple[int, int, int, int] = field(static=True)
    sd: float = field(static=True)

    def init(self, key: PRNGKeyArray) -> Float[Array, "b h w c"]:
        """Gaussian pixels of deviation `sd`."""
        return jax.random.normal(key, self.shape, jnp.float32) * self.sd

    def to_image(self, theta: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The pixels themselves."""
        return theta.astype(jnp.float32)

    def from_image(self, images: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The inverse of `to_image`."""
        return images.astype(jnp.float32)


@pytree
class Fourier:
    """See `fft_image`."""

    shape: tuple[int, int, int, int] = field(static=True)
    sd: float = field(static=True)
    decay_power: float = field(static=True)

    def init(self, key: PRNGKeyArray) -> Float[Array, "b c h f 2"]:
        """Gaussian coefficients of deviation `sd`, before scaling."""
        b, h, w, c = self.shape
        return jax.random.normal(key, (b, c, h, w // 2 + 1, 2), jnp.float32) * self.sd

    def to_image(self, theta: Float[Array, "b c h f 2"]) -> Float[Array, "b h w c"]:
        """The inverse transform of the scaled coefficients."""
        _, h, w, _ = self.shape
        theta, scale = theta.astype(jnp.float32), self._scale()
        spectrum = jax.lax.complex(theta[..., 0] * scale, theta[..., 1] * scale)
        return jnp.moveaxis(jnp.fft.irfft2(spectrum, s=(h, w)), 1, -1)

    def from_image(self, images: Float[Array, "b h w c"]) -> Float[Array, "b c h f 2"]:
        """The inverse of `to_image`."""
        spectrum, scale = jnp.fft.rfft2(jnp.moveaxis(images.astype(jnp.float32), -1, 1)), self._scale()
        return jnp.stack([spectrum.real / scale, spectrum.imag / scale], axis=-1)

    def _scale(self) -> Float[np.ndarray, "1 1 h f"]:
        _, h, w, _ = self.shape
        frequency = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w))  # cycles per pixel
        scale = np.sqrt(h * w) / np.maximum(frequency, 1 / max(h, w)) ** self.decay_power
        return (scale / LUCID_DIVISOR).astype(np.float32)[None, None]


def pixel_image(shape: Sequence[int], sd: int | float | None = None) -> Pixels:
    """Images `[B, H, W, C]` stored as their pixels; unbounded: see `to_valid_rgb`.

    Args:
        shape: (B, H, W, C).
        sd: the deviation of the Gaussian start, 0.01 by default.
    """
    return Pixels(shape=check_shape(shape), sd=check_sd(sd))


def fft_image(shape: Sequence[int], sd: int | float | None = None, decay_power: int | float = 1) -> Fourier:
    """Images stored as Fourier coefficients scaled to the 1/f spectrum of natural images; unbounded: see `to_valid_rgb`.

    `x = irfft2(theta * sqrt(h w) / max(f, 1/max(h, w))**decay_power) / 4`, with f in cycles per pixel. It changes which images
    are near the start, and so which are found, but not which can be expressed.

    Args:
        shape: (B, H, W, C).
        sd: the deviation of the Gaussian start, 0.01 by default.
        decay_power: how steeply the spectrum falls; 0 gives white noise.

    Returns: a parameterization whose theta is float32 `[B, C, H, W // 2 + 1, 2]`, real and imaginary parts (Lucent's
        layout). It is real because optimizers treat complex numbers as a unit (Adam: one second moment for both
        parts), which is another algorithm; and some reject them.

    Exact for every size. Lucid and Lucent keep one column of coefficients more for odd widths, which has no effect.
    """
    if isinstance(decay_power, bool) or not isinstance(decay_power, int | float) or not np.isfinite(decay_power):
        raise ValueError(f"decay_power={decay_power!r} must be a number; 1 is natural, 0 white.")
    return Fourier(shape=check_shape(shape), sd=check_sd(sd), decay_power=float(decay_power))


def check_shape(shape: Any) -> tuple[int, int, int, int]:
    """(B, H, W, C) as integers, or an error."""
    shape = tuple(shape)
    if len(shape) != 4:
        raise ValueError(f"shape={shape} must be (B, H, W, C).")
    if shape[1] in (3, 4) and shape[3] > 4:
        raise ValueError(f"shape={shape} looks channels-first; jaxlens uses (B, H, W, C).")
    b, h, w, c = (check_int(size, f"shape[{i}]", low=1) for i, size in enumerate(shape))
    return b, h, w, c


def check_sd(sd: Any) -> float:
    """A standard deviation (None: the default), or an error."""
    if sd is None:
        return SD
    if isinstance(sd, bool) or not isinstance(sd, int | float | np.integer | np.floating) or not 0 <= sd < np.inf:
        raise ValueError(f"sd={sd!r} must be a number >= 0, or None for {SD}.")
    return float(sd)
