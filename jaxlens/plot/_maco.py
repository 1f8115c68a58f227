"""Pictures that are opaque where their objective looked."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxlens._checks import as_array, check_images
from jaxlens._numerics import gaussian_weights
from jaxlens._types import Images
from jaxlens.plot._panel import check_range
from jaxlens.plot._types import Floats


def maco_display(
    image: Images, importance: Floats, *, percentile_image: float = 1.0, percentile_alpha: float = 80.0, sigma: float = 0.0
) -> np.ndarray:
    """Show a picture as MACO does: with more contrast, and opaque where its objective looked.

    `rgb = (clip(image, low, high) - low) / (high - low)`; low and high are the percentiles p and
    100 - p of all values of the image. `alpha = min(m, top) / top`; m is the mean of `importance`
    over channels, and top is its percentile.

    Args:
        image: floats `[H, W, 3]` in [0, 1].
        importance: floats >= 0, `[H, W]` or `[H, W, C]`: how much each pixel mattered, such as one
            picture's part of `RenderResult.importance`. Higher is more opaque; the scale does not
            matter.
        percentile_image: p, in [0, 50): this percentage of the values becomes 0, and as many become
            1. With 0 the range is only stretched. An image of one value stays what it is.
        percentile_alpha: the percentile, in (0, 100], from which on pixels are fully opaque. Where
            that is 0, because most pixels did not matter, it is the maximum.
        sigma: the standard deviation in pixels of a Gaussian that blurs alpha at the end. The
            kernel is cut at 4 deviations; beyond the border it sees a mirror image
            (`c b a | a b c`). The accentuation paper has 2.

    Returns: float32 `[H, W, 4]` in [0, 1]; all transparent if `importance` is 0 everywhere.
        `contact_sheet` shows it on white, and `data.save_image` keeps the alpha in a PNG file.

    Raises:
        ValueError: for shapes that do not fit, values out of range or NaN, and percentiles or a
            sigma that are not legal.
        TypeError: for values that are not floats.

    Fel et al. 2023, arXiv:2306.06805, as Horama's `plot_maco` (xplique's first multiplies the image
    by alpha). The blur is that of Hamblin et al. 2024, arXiv:2402.10039.

    Example:
        >>> import jax
        >>> from jaxlens import data, plot
        >>> image = jax.random.uniform(jax.random.key(0), (24, 32, 3))  # result.images[0, 0]
        >>> importance = jax.random.uniform(jax.random.key(1), (24, 32))  # result.importance[0, 0]
        >>> shown = plot.maco_display(image, importance, sigma=2)
        >>> shown.shape, data.save_image("maco.png", shown).name
        ((24, 32, 4), 'maco.png')
    """
    pixels = np.asarray(check_images(image, name="image", batched=False), np.float32)
    mattered = _importance(importance, pixels.shape[:2])
    check_range(percentile_image, "percentile_image", lambda x: 0 <= x < 50, "in [0, 50)")
    check_range(percentile_alpha, "percentile_alpha", lambda x: 0 < x <= 100, "in (0, 100]")
    widest = max(pixels.shape[:2])
    check_range(sigma, "sigma", lambda x: 0 <= x <= widest, f"a number of pixels >= 0 (0 does not blur) and <= {widest}")

    low, high = np.percentile(pixels, [percentile_image, 100 - percentile_image])
    rgb = (np.clip(pixels, low, high) - low) / (high - low) if high > low else np.clip(pixels, 0, 1)
    top = np.percentile(mattered, percentile_alpha) or mattered.max()
    alpha = np.minimum(mattered, top) / (top or 1.0)
    if sigma:
        alpha = _blur(_blur(alpha, sigma, 0), sigma, 1)
    return np.concatenate([rgb, alpha[..., None]], axis=-1).clip(0, 1).astype(np.float32)


def _importance(value: Any, size: tuple[int, ...]) -> np.ndarray:
    """Return the checked importance as float64 `[H, W]`, averaged over channels."""
    array = np.asarray(as_array(value, "importance", "an array of floats >= 0"))
    if array.ndim not in (2, 3) or array.shape[:2] != size or 0 in array.shape:
        h, w = size
        raise ValueError(f"importance has shape {array.shape}, but the image's [{h}, {w}] or [{h}, {w}, C] is needed.")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"importance has dtype {array.dtype}, but floats >= 0 are needed.")
    low, high = array.min(), array.max()
    if not (low >= 0 and high < np.inf):  # NaN fails too
        raise ValueError(
            f"importance has values in [{low:.4g}, {high:.4g}], but finite ones >= 0 are needed, such as absolute gradients."
        )
    array = array.astype(np.float64)
    return array if array.ndim == 2 else array.mean(-1)


def _blur(array: np.ndarray, sigma: float, axis: int) -> np.ndarray:
    """Convolve along an axis with a Gaussian whose weights sum to 1."""
    radius = int(4 * sigma + 0.5)
    pad = [(radius, radius) if i == axis else (0, 0) for i in range(array.ndim)]
    padded = np.pad(array, pad, mode="symmetric")
    return np.apply_along_axis(np.convolve, axis, padded, gaussian_weights(sigma, radius), mode="valid")
