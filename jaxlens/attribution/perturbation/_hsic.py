"""HSIC: how much the score depends on a cell's being shown, by a kernel measure of dependence."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import as_key, check_int
from jaxlens._types import Images, Seed
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._query import ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import BaselineLike, TargetLike
from jaxlens.attribution.perturbation._features import cells_of, grid_features, map_size
from jaxlens.attribution.perturbation._masked import FeatureMasks, masked_scores
from jaxlens.attribution.perturbation._surrogate import half_masks
from jaxlens.model import Model

MAX_SAMPLES = 10**4  # all pairs of them are compared


@method(values="sizes")
def hsic(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    cells: int | tuple[int, int] = 8,
    samples: int = 500,
    unbiased: bool = True,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Measure the dependence of the score on each cell of a grid, by HSIC.

    The Hilbert-Schmidt independence criterion of Novello et al. 2022, arXiv:2206.06219. Each cell
    is shown or hidden with probability 1/2. The kernel of a cell is `1[m = m']`: whether two masks
    agree in it. The kernel of scores is `exp(-(y - y')**2 / (2 width**2))`, where width is the
    median distance of two scores (their mean distance if more than half are equal; xplique's width,
    the median score, may be near 0). The result is unsigned. 0 means independent. A factor of the
    score cancels.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`. The layer
            must have maps.
        cells: cells of the grid, one number for both axes or (rows, columns).
        samples: masks per image, one evaluation each. All images have the same masks.
        unbiased: take the estimate whose mean is 0 for a cell without effect (Song et al. 2012,
            JMLR 13:1393), so that some values are slightly negative. False takes the paper's
            `tr(K H L H) / (samples - 1)**2`, which is about 1 / samples too large for every cell.
        seed: an int or a JAX key.
        progress: show a bar when it takes longer than two seconds.

    Returns: `[B, rows, columns, 1]`, one value per cell;
        `attribution.resize(values, size, "nearest")` shows them on the image.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.hsic(model, images, cells=(3, 4), samples=8).values.shape
        (2, 3, 4, 1)
    """
    samples = check_int(samples, "samples", low=4, high=MAX_SAMPLES)
    query = ask(model, images, target, layer=layer, baseline=baseline)
    size = map_size(query, "hsic")
    rows, columns = cells_of(cells, size)
    keep = half_masks(as_key(seed), samples, rows * columns)
    masks = FeatureMasks(keep=keep, features=grid_features(size, (rows, columns))[..., None])
    found = masked_scores(query, masks, samples, batch_size=batch_size, progress=progress, label="hsic")
    values = dependence(keep, found, unbiased).reshape(query.count, rows, columns, 1)
    return Attribution(values=values, scores=scores_of(query, query.values, batch_size), method="hsic", layer=query.layer)


@functools.partial(jax.jit, static_argnums=2)
def dependence(masks: Float[Array, "n d"], outputs: Float[Array, "b n"], unbiased: bool) -> Float[Array, "b d"]:
    """Return the HSIC of each column of 0-1 masks with each image's outputs.

    One image is computed after the other.
    """
    return jax.lax.map(lambda each: _dependence(masks, each, unbiased), outputs)


def _dependence(masks: jax.Array, outputs: jax.Array, unbiased: bool) -> jax.Array:
    count = masks.shape[0]
    gap = jnp.abs(outputs[:, None] - outputs[None])
    likeness = jnp.exp(-jnp.square(gap / _width(gap)) / 2)
    if not unbiased:
        mean = likeness.mean(0)
        centred = likeness - mean[None] - mean[:, None] + mean.mean()
        # Agreement is m m' + (1 - m)(1 - m'), and the rows of the centered matrix add up to 0.
        return 2 * _form(masks, centred) / (count - 1) ** 2
    others = ~jnp.eye(count, dtype=bool)
    likeness = jnp.where(others, likeness - jnp.mean(likeness, where=others), 0)  # a constant changes only rounding
    hidden = 1 - masks
    agree = masks * masks.sum(0)[None] + hidden * hidden.sum(0)[None] - 1  # each mask with the others
    row = likeness.sum(1)
    whole = agree.sum(0) * row.sum() / ((count - 1) * (count - 2))
    cross = jnp.matmul(row, agree, precision="highest") * 2 / (count - 2)
    return (_form(masks, likeness) + _form(hidden, likeness) + whole - cross) / (count * (count - 3))


def _form(columns: jax.Array, matrix: jax.Array) -> jax.Array:
    """Return `m matrix m` for each column m."""
    return (columns * jnp.matmul(matrix, columns, precision="highest")).sum(0)


def _width(gap: Float[Array, "n n"]) -> Float[Array, ""]:
    """Return the median distance of two outputs; where it is 0, their mean distance, else 1."""
    count = gap.shape[0]
    pairs = gap[jnp.triu_indices(count, 1)]
    median, mean = jnp.median(pairs), pairs.mean()
    return jnp.where(median > 0, median, jnp.where(mean > 0, mean, 1))
