"""Many channels in one picture, each with a hue of its own."""

import jax.numpy as jnp
import numpy as np

from jaxlens._checks import as_array, check_flag
from jaxlens.plot._types import Floats

# Red, yellow, green, cyan, blue and magenta, divided by their lengths: every sixth of the wheel.
_CORNERS = np.asarray([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]], np.float64)
_CORNERS /= np.linalg.norm(_CORNERS, axis=1, keepdims=True)


def hue_to_rgb(hue: Floats) -> np.ndarray:
    """Return colors of length 1 around the color wheel.

    Every sixth of a turn is a corner: red, yellow, green, cyan, blue, magenta, each divided by its
    length. Between the corners k and k + 1, at `t = 6 hue - k`, the color is
    `(1 - s) corner[k] + s corner[k + 1]`, divided by its length. `s = sin(pi t / 2)` after red,
    green and blue and `s = 1 - cos(pi t / 2)` before them: hues near these three, which are hard to
    tell apart, get less of the wheel. Equals Lucid's `hue_to_rgb(360 * hue)`.

    Args:
        hue: a number or floats of any shape, in turns: 0 is red, 1/3 green, 2/3 blue, 1 red again.

    Returns: float32 `[..., 3]` in [0, 1] with `r**2 + g**2 + b**2 = 1`.

    Raises:
        ValueError: if a hue is NaN or infinite.

    Example:
        >>> from jaxlens import plot
        >>> plot.hue_to_rgb([0, 1 / 3, 2 / 3]).round(2).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    turns = np.asarray(as_array(hue, "hue", "turns around the color wheel"), np.float64)
    if not np.isfinite(turns).all():
        raise ValueError("hue has values that are NaN or infinite, but turns around the color wheel are needed.")
    return _wheel(turns).astype(np.float32)


def _wheel(turns: np.ndarray) -> np.ndarray:
    place = 6 * (turns % 1)
    corner = np.floor(place)
    t = np.pi / 2 * (place - corner)
    corner = corner.astype(int)
    s = np.where(corner % 2 == 0, np.sin(t), 1 - np.cos(t))[..., None]
    colors = (1 - s) * _CORNERS[corner % 6] + s * _CORNERS[(corner + 1) % 6]
    return colors / np.linalg.norm(colors, axis=-1, keepdims=True)


def collapse_channels(activations: Floats, *, signed: bool | None = None) -> np.ndarray:
    """Show channels as colors: one picture says which channel is active where.

    Channel c of C has the hue `h[c] = c / C`. If there are negative values, it has `h[c] = c / 2C`
    for its positive values and the opposite hue `h[c] + 1/2` for its negative ones. With the color
    `u[c]` of the channel's hue (see `hue_to_rgb`), a position with activations a gets

        `v = sum_c |a[c]| u[c] + (sum_c |a[c]| - max_c |a[c]|) * (1, 1, 1)`,   `rgb = |a| v / |v|`,

    with Euclidean norms: the hue says which channel leads, white how many take part, brightness how
    active they are. At the end the whole result is divided by its largest value. This is one scale
    for all positions and images: dim places stay dim, and activations times a positive number give
    the same picture.

    Args:
        activations: floats `[..., C]`, such as `[H, W, C]` or `[N, H, W, C]`.
        signed: whether there are hues for negative values. By default the values decide. True gives
            every call the same hues, whatever the signs of its values.

    Returns: float32 `[..., 3]` in [0, 1]; black where nothing is active.

    Raises:
        ValueError: if there are no channels, a value is NaN or infinite, or `signed` is False and a
            value is negative.
        TypeError: if the activations are not floats.

    Differs from Lucid's `collapse_channels`, which has no common scale and can leave [0, 1]. Close
    hues look alike: for more than a dozen channels reduce them first, or take the most active ones.

    Example:
        >>> import numpy as np
        >>> from jaxlens import plot
        >>> activations = np.asarray([[[2.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]])
        >>> plot.collapse_channels(activations).round(2).tolist()  # red, a darker blue, black
        [[[1.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]]]
    """
    array = np.asarray(as_array(activations, "activations", "an array of floats [..., C]"))
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"activations has shape {array.shape}, but [..., C] with C >= 1 channels is needed.")
    signed = None if signed is None else check_flag(signed, "signed")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"activations has dtype {array.dtype}, but floats are needed. Convert: activations.astype('float32').")
    a = array.astype(np.float64)
    if not np.isfinite(a).all():
        raise ValueError("activations has values that are NaN or infinite, but numbers are needed.")
    negative = a < 0
    if signed is False and negative.any():
        raise ValueError(f"activations has values down to {a.min():.4g}, but signed=False. Leave it out, or clip them at 0.")
    signed = bool(negative.any()) if signed is None else signed
    size = np.abs(a)
    size /= size.max(initial=0) or 1.0
    channels = a.shape[-1]
    hues = np.arange(channels) / (2 * channels if signed else channels)
    v = np.where(negative, 0, size) @ _wheel(hues) + np.where(negative, size, 0) @ _wheel(hues + 0.5)
    v += (size.sum(-1) - size.max(-1))[..., None]
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    rgb = np.linalg.norm(size, axis=-1, keepdims=True) * v / np.where(length > 0, length, 1)
    return (rgb / (rgb.max(initial=0) or 1.0)).astype(np.float32)
