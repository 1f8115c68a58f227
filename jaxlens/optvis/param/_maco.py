"""MACO: optimize the Fourier phases of images alone, with the magnitudes of natural images."""

import functools
import json
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import SIDE, check_images, check_int, check_reals
from jaxlens._pytree import field, pytree
from jaxlens._types import Images, Whole
from jaxlens.optvis.param import color
from jaxlens.optvis.param._base import NotAPair
from jaxlens.optvis.param._spatial import check_shape
from jaxlens.optvis.param._types import Batches
from jaxlens.optvis.param._valid import LOGIT_MARGIN

EPSILON = 1e-5  # is added to deviations


@pytree
class Phases(NotAPair):
    """See `maco` and `fourier_phase`."""

    magnitude: Float[Array, "n c h f"] = field(rank=4)
    start: Float[Array, "b c h f"] | None = field(rank=4, default=None)
    # mean and deviation of each image before the sigmoid
    moments: Float[Array, "b 2"] | None = field(rank=2, default=None)
    shape: tuple[int, int, int, int] = field(static=True)
    standardize: bool = field(static=True)

    def init(self, key: PRNGKeyArray) -> Float[Array, "b c h f"]:
        """Return the phases of the initial images if there are any, else random ones.

        These are normal if they are standardized later, and otherwise uniform.
        """
        if self.start is not None:
            return self.start
        b, h, w, c = self.shape
        shape = (b, c, h, w // 2 + 1)
        if self.standardize:
            return jax.random.normal(key, shape, jnp.float32)
        return jax.random.uniform(key, shape, jnp.float32, -jnp.pi, jnp.pi)

    def to_image(self, theta: Float[Array, "b c h f"]) -> Float[Array, "b h w c"]:
        """Return the images of these phases, in [0, 1]."""
        _, h, w, c = self.shape
        phase = theta.astype(jnp.float32)
        if self.standardize:
            phase = _standardized(phase)
        size = self.magnitude
        x = jnp.fft.irfft2(jax.lax.complex(size * jnp.cos(phase), size * jnp.sin(phase)), s=(h, w))
        x = _standardized(x)
        if self.moments is not None:
            mean, deviation = self.moments[:, :, None, None, None].swapaxes(0, 1)
            x = x * deviation + mean
        x = jnp.moveaxis(x, 1, -1)
        return jax.nn.sigmoid(color.to_rgb(x) if c == 3 else x)


def _standardized(x: Float[Array, "b *axes"]) -> Float[Array, "b *axes"]:
    axes = tuple(range(1, x.ndim))
    return (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + EPSILON)


def maco(w: Whole, h: Whole | None = None, batch: Whole = 1, *, magnitude: Images | None = None) -> Phases:
    """Images in [0, 1] with the Fourier magnitudes of natural images; only phases are optimized.

    `x = irfft2(r * exp(i phi'))` with `phi' = (phi - mean) / std`, then `(x - mean) / std` over
    all channels, decorrelated colors to RGB, and a sigmoid. No image can gain score by unnatural
    contrast or high frequencies.

    Fel et al. 2023, arXiv:2306.06805. Their images run from -1 to 1 or from -2.5 to 2.5; here
    they are plain images, and the model normalizes them.

    Use an optimizer with normalized steps and a rate of 1, such as `optax.nadam(1.0)`, and
    `transform.random_boxes`. `recipes.maco` does all of this.

    Args:
        w: the width.
        h: the height; `w` by default.
        batch: how many images.
        magnitude: `[C, H, W // 2 + 1]` in decorrelated colors, such as `spectrum_of(images)` of a
            dataset of your own. It is resized to the size of the images. Default:
            `natural_spectrum(h, w)`.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> p = param.maco(32, 24)
        >>> phases = p.init(jax.random.key(0))
        >>> phases.shape
        (1, 3, 24, 17)
        >>> p.to_image(phases).shape
        (1, 24, 32, 3)
    """
    return _phases(w, h, batch, magnitude, None, standardize=True)


def fourier_phase(
    w: Whole | None = None,
    h: Whole | None = None,
    batch: Whole = 1,
    *,
    magnitude: Images | None = None,
    init: Images | None = None,
) -> Phases:
    """`maco` without standardized phases, so that it can start at an image.

    For feature accentuation (Hamblin et al. 2024).

    Args:
        w: the width. May be left out if `init` is given.
        h: the height; `w` by default.
        batch: how many images.
        magnitude: as in `maco`. Default: the magnitudes of `init`, or `natural_spectrum(h, w)`.
        init: `[H, W, C]` or `[B, H, W, C]` in [0, 1]. It comes back as it was (within 0.001 of 0
            and 1 as `param.image` says), and its mean and contrast stay. If `magnitude` is given,
            only the phases of `init` are used.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> photo = jax.random.uniform(jax.random.key(0), (24, 32, 3), minval=0.1, maxval=0.9)
        >>> p = param.fourier_phase(init=photo)
        >>> bool(abs(p.to_image(p.init(jax.random.key(1))) - photo).max() < 0.001)
        True
    """
    if init is None:
        if w is None:
            raise ValueError("w=None leaves the size open; give w, or an init image to take the size from.")
        return _phases(w, h, batch, magnitude, None, standardize=False)
    batch = check_int(batch, "batch", low=1)
    sides = {"w": w, "h": h}
    w, h = (None if n is None else check_int(n, name, low=1) for name, n in sides.items())
    images = check_images(init, name="init", channels=None, batched=None)
    images = jnp.asarray(images if images.ndim == 4 else images[None], jnp.float32)
    if (w or images.shape[2], h or images.shape[1]) != (images.shape[2], images.shape[1]):
        raise ValueError(f"init has shape {images.shape}, but w={w}, h={h}. Leave them out, or resize init first.")
    if images.shape[0] not in (1, batch) and batch != 1:
        raise ValueError(f"init holds {images.shape[0]} images, but batch={batch}: give one, or as many.")
    count = max(batch, images.shape[0])
    images = jnp.broadcast_to(images, (count, *images.shape[1:]))
    spectrum = _spectrum(images)
    start = jnp.angle(spectrum).astype(jnp.float32)
    if magnitude is not None:
        magnitude = check_magnitude(magnitude)
        if magnitude.shape[0] != images.shape[3]:
            raise ValueError(f"magnitude has shape {magnitude.shape}, but init has {images.shape[3]} channels: give as many.")
        return _phases(images.shape[2], images.shape[1], count, magnitude, start, standardize=False)
    x = _unbounded(images)
    moments = jnp.stack([x.mean((1, 2, 3)), x.std((1, 2, 3)) + EPSILON], axis=1)
    own = jnp.abs(spectrum)
    shape = (count, images.shape[1], images.shape[2], images.shape[3])
    return Phases(magnitude=own, start=start, moments=moments, shape=shape, standardize=False)


def _phases(w: Any, h: Any, batch: Any, magnitude: Any, start: Any, *, standardize: bool) -> Phases:
    count, height, width, _ = check_shape((batch, w if h is None else h, w, 3), ("batch", "h", "w", "channels"))
    size = natural_spectrum(height, width) if magnitude is None else check_magnitude(magnitude)
    if size.shape[1:] != (height, width // 2 + 1):
        centred = jnp.fft.fftshift(size, 1)  # neighbors in frequency become neighbors
        size = jnp.fft.ifftshift(jax.image.resize(centred, (size.shape[0], height, width // 2 + 1), "linear"), 1)
    shape = (count, height, width, size.shape[0])
    return Phases(magnitude=size[None], start=start, shape=shape, standardize=standardize)


def check_magnitude(magnitude: Any) -> Array:
    """Return Fourier magnitudes `[C, H, W // 2 + 1]`, or raise."""
    size = check_reals(magnitude, "magnitude")
    if size.ndim != 3 or size.shape[0] not in (1, 3) or size.size == 0:
        raise ValueError(f"magnitude has shape {size.shape}, but [C, H, W // 2 + 1] with C of 1 or 3 is needed.")
    if not bool((size >= 0).all()) or not bool(size.any()):
        raise ValueError("magnitude must hold numbers >= 0, not all 0.")
    return size


def _unbounded(images: Float[Array, "b h w c"]) -> Array:
    """Return logits in decorrelated colors."""
    x = jax.scipy.special.logit(jnp.clip(images, LOGIT_MARGIN, 1 - LOGIT_MARGIN))
    return color.from_rgb(x) if images.shape[-1] == 3 else x


def _spectrum(images: Float[Array, "b h w c"]) -> Array:
    """Return the Fourier coefficients `[B, C, H, W // 2 + 1]` of `_unbounded(images)`."""
    return jnp.fft.rfft2(jnp.moveaxis(_unbounded(images), -1, 1))


def spectrum_of(images: Batches) -> Float[Array, "c h f"]:
    """Return the mean Fourier magnitudes of a dataset, for `maco(magnitude=...)`.

    Args:
        images: `[B, H, W, C]` in [0, 1], or an iterable of such batches, all of one size.

    Returns:
        `[C, H, W // 2 + 1]`: the mean of `|rfft2|` of the images in decorrelated colors.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> photos = jax.random.uniform(jax.random.key(0), (4, 24, 32, 3))
        >>> magnitude = param.spectrum_of(photos)
        >>> magnitude.shape
        (3, 24, 17)
        >>> p = param.maco(32, 24, magnitude=magnitude)
    """
    batches = color.as_batches(images)
    total, count = jnp.zeros(()), 0
    for batch in batches:
        checked = check_images(batch, channels=None)
        if 0 in checked.shape[1:]:
            raise ValueError(f"images has shape {checked.shape}: it is empty.")
        x = jnp.moveaxis(color.from_rgb(checked) if checked.shape[-1] == 3 else checked, -1, 1)
        size = jnp.abs(jnp.fft.rfft2(x)).sum(0)
        total, count = (size if count == 0 else total + size), count + len(checked)
    if not count:
        raise ValueError("images is empty: give at least one batch.")
    return total / count


def natural_spectrum(h: Whole, w: Whole) -> Float[Array, "3 h f"]:
    """Return Fourier magnitudes of natural images in decorrelated colors, up to a common factor.

    A model of 3 x 16 x 3 numbers: for each color, the logarithm of the magnitude at 16 logarithms
    of the frequency (in cycles per pixel), as a mean and the parts that depend on the angle
    (`cos 2a`, `cos 4a`: horizontal and vertical structure is more common).
    `python -m tools.natural_spectrum` fits it to photographs; `natural_spectrum.json` says
    which.

    Args:
        h: the height of the images.
        w: their width.

    Returns:
        `[3, h, w // 2 + 1]`.

    Example:
        >>> from jaxlens.optvis import param
        >>> magnitude = param.natural_spectrum(24, 32)
        >>> magnitude.shape
        (3, 24, 17)
        >>> bool(magnitude[0, 0, 1] > magnitude[0, 0, 8])  # coarse structure is stronger than fine
        True
    """
    h, w = check_int(h, "h", low=1, high=SIDE), check_int(w, "w", low=1, high=SIDE)
    down, right = np.meshgrid(np.fft.fftfreq(h), np.fft.rfftfreq(w), indexing="ij")
    frequency, angle = np.hypot(down, right), np.arctan2(down, right)
    model = _natural()
    places = np.log(np.clip(frequency, 1 / max(h, w), None))
    levels = [
        [np.interp(places, model["log_frequency"], harmonic, left=None) for harmonic in harmonics]
        for harmonics in model["harmonics"]
    ]
    slope = (np.minimum(places, model["log_frequency"][0]) - model["log_frequency"][0]) * model["slope"]
    logs = [sum(level * np.cos(2 * k * angle) for k, level in enumerate(each)) + slope for each in levels]
    return jnp.asarray(np.exp(np.stack(logs)), jnp.float32)


@functools.cache
def _natural() -> dict[str, Any]:
    return json.loads(resources.files("jaxlens.optvis.param").joinpath("natural_spectrum.json").read_text("utf-8"))
