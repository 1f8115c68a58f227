"""Deletion and insertion: the score while pixels go, or come, in the order of an attribution."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxlens._checks import check_images, check_int, check_number, check_some
from jaxlens._numerics import gaussian_weights
from jaxlens._pytree import field, pytree
from jaxlens._types import Images
from jaxlens.attribution._entry import entry
from jaxlens.attribution._query import Query
from jaxlens.attribution._types import BaselineLike, TargetLike, ValuesLike
from jaxlens.attribution.metrics._inputs import Curve, map_of, metric_query, ranks_of
from jaxlens.attribution.perturbation._masked import masked_scores
from jaxlens.model import Model

MAX_SIGMA = 1e4  # pixels


@pytree
class FirstPixels:
    """Masks of the first pixels in each image's order: these alone are kept, or removed."""

    ranks: Int[Array, "b h w"]
    counts: Int[Array, " s"]
    keep: bool = field(static=True)

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> jax.Array:
        first = self.ranks[image] < self.counts[number][:, None, None]
        return (first if self.keep else ~first)[..., None]


@entry
def deletion(
    model: Model,
    images: Images,
    values: ValuesLike,
    target: TargetLike = None,
    *,
    baseline: BaselineLike = None,
    steps: int | None = 10,
    fraction: float = 1.0,
    score: str = "probability",
    batch_size: int | None = None,
    progress: bool = True,
) -> Curve:
    """Score the images while pixels are deleted, the most important first; low areas are good.

    Petsiuk et al. 2018, arXiv:1806.07421. All channels of a pixel go together, and the baseline
    takes their place. The area is the mean of the curve, by trapezoids.

    Args:
        model, images, target, baseline, batch_size: see `jaxlens.attribution`.
        values: an `Attribution` or its array `[B, h, w, C]`. Channels are summed, and maps of
            another size resized bilinearly. The signed values count: what speaks most for the
            target goes first, what speaks most against it goes last. Where the sign means something
            else, as in gradients, take magnitudes first:
                `attribution.sum_channels(values, "abs_sum")`. Of equal
            values, the pixel that comes first in the image goes first.
        steps: points of the curve after the first; None deletes one pixel at a time. xplique: 10.
            The paper deletes one row's width of pixels at a time, in 224 steps.
        fraction: stop when this share of the pixels is deleted.
        score: for a class, its "probability" as in the paper, or its "logit"; any other target is
            itself.
        progress: show a bar when it takes longer than two seconds.

    Returns: a `Curve` with area `[B]`, scores `[B, steps + 1]` and the fractions deleted.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.input_x_gradient(model, images)
        >>> curve = attribution.metrics.deletion(model, images, found, steps=4)
        >>> curve.area.shape, curve.scores.shape
        ((2,), (2, 5))
    """
    query = metric_query(model, images, target, score, baseline)
    return _curve(query, values, steps, fraction, False, batch_size, progress)


@entry
def insertion(
    model: Model,
    images: Images,
    values: ValuesLike,
    target: TargetLike = None,
    *,
    baseline: BaselineLike = None,
    steps: int | None = 10,
    fraction: float = 1.0,
    score: str = "probability",
    batch_size: int | None = None,
    progress: bool = True,
) -> Curve:
    """Score the images while pixels are put into the baseline, the most important first.

    High areas are good (Petsiuk et al. 2018, arXiv:1806.07421). The paper starts from a blurred
    image: `baseline=metrics.blurred(images, 5)`.

    Args and returns: as `deletion`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.attribution import metrics
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found, start = attribution.input_x_gradient(model, images), metrics.blurred(images, 5)
        >>> metrics.insertion(model, images, found, baseline=start, steps=4).area.shape
        (2,)
    """
    query = metric_query(model, images, target, score, baseline)
    return _curve(query, values, steps, fraction, True, batch_size, progress)


def _curve(
    query: Query, values: Any, steps: int | None, fraction: float, keep: bool, batch_size: int | None, progress: bool
) -> Curve:
    ranks = ranks_of(map_of(values, query))
    pixels = math.prod(ranks.shape[1:])
    most = max(round(check_number(fraction, "fraction", above=0, high=1) * pixels), 1)
    steps = most if steps is None else check_int(steps, "steps", low=1, high=most)
    counts = np.linspace(0, most, steps + 1).astype(np.int32)
    masks = FirstPixels(ranks=ranks, counts=jnp.asarray(counts), keep=keep)
    label = "insertion" if keep else "deletion"
    scores = masked_scores(query, masks, steps + 1, batch_size=batch_size, progress=progress, label=label)
    widths = jnp.asarray(np.diff(counts) / most, scores.dtype)
    return Curve(area=_area(scores, widths), scores=scores, fractions=jnp.asarray(counts / pixels, scores.dtype))


@jax.jit
def _area(scores: Float[Array, "b s"], widths: Float[Array, " t"]) -> Float[Array, " b"]:
    return ((scores[:, 1:] + scores[:, :-1]) / 2 * widths[None]).sum(1)


@entry
def blurred(images: Images, sigma: float) -> Float[Array, "b h w c"]:
    """Convolve images with a Gaussian: a baseline without edges of its own.

    Border pixels are repeated beyond the border.

    Args:
        images: `[B, H, W, C]` in [0, 1].
        sigma: standard deviation in pixels, > 0; the kernel ends at four of them. The insertion
            game of Petsiuk et al. has 5 at 224 pixels.

    Returns: images of the same shape, in [0, 1].

    Example:
        >>> import jax
        >>> from jaxlens.attribution import metrics
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> soft = metrics.blurred(images, 2)
        >>> soft.shape, bool(soft.std() < images.std())
        ((2, 24, 32, 3), True)
    """
    images = check_some(check_images(images, channels=None))
    sigma = check_number(sigma, "sigma", above=0, high=MAX_SIGMA)
    rows, columns = (jnp.asarray(_gaussian(size, sigma), images.dtype) for size in images.shape[1:3])
    blur = jnp.einsum("ij,bjwc,kw->bikc", rows, images, columns, precision=jax.lax.Precision.HIGHEST)
    return jnp.clip(blur, 0, 1)  # rounding must not take an image out of its range


def _gaussian(size: int, sigma: float) -> np.ndarray:
    """Return the blur of one axis as a matrix whose rows sum to 1.

    Places beyond the border take the border's pixel.
    """
    radius = int(4 * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    matrix = np.zeros((size, size))
    rows = np.repeat(np.arange(size), len(offsets))
    columns = np.clip(np.arange(size)[:, None] + offsets[None], 0, size - 1).ravel()
    np.add.at(matrix, (rows, columns), np.tile(gaussian_weights(sigma, radius), size))
    return matrix
