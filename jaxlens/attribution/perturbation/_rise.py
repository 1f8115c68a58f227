"""RISE: the mean score while a value is visible, under random masks."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import as_key, check_scalar, is_known
from jaxlens._numerics import over
from jaxlens._pytree import field, pytree
from jaxlens._types import Images, Seed
from jaxlens.attribution._batches import accumulate, check_samples
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import BaselineLike, TargetLike
from jaxlens.attribution.perturbation._features import cells_of, map_size
from jaxlens.attribution.perturbation._masked import blend
from jaxlens.model import Model

CELLS = 7  # the paper's, for maps of any size


@pytree
class SmoothMasks:
    """Random grids of 0 and 1, enlarged and shifted."""

    key: Any
    p: Float[Array, ""]
    cells: tuple[int, int] = field(static=True)

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> Float[Array, "n h w 1"]:
        return jax.vmap(lambda n: self.mask(n, query.values.shape[1:3]))(number).astype(query.values.dtype)[..., None]

    def mask(self, number: Any, size: tuple[int, ...]) -> jax.Array:
        """Return a window of that size of the enlarged grid."""
        draws = jax.random.uniform(jax.random.fold_in(self.key, number), (2 + self.cells[0] * self.cells[1],))
        mask = (draws[2:] < self.p).astype(jnp.float32).reshape(self.cells)
        for draw, length, cells in zip(draws[:2], size, self.cells, strict=True):
            step = -(-length // cells)  # one cell, enlarged; the enlarged grid has one step more than cells
            place = jnp.arange(length, dtype=jnp.float32) + jnp.floor(draw * step)
            centre = (place + 0.5) * cells / (step * (cells + 1)) - 0.5
            near = jnp.clip(centre, 0, cells - 1)[:, None] - jnp.arange(cells, dtype=jnp.float32)[None]
            mask = jnp.tensordot(mask, jnp.maximum(1 - jnp.abs(near), 0), (0, 1), precision="highest")
        return mask


@method(values="levels")
def rise(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    samples: int = 4000,
    cells: int | tuple[int, int] = CELLS,
    p: float = 0.5,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return the mean score while a pixel is visible, under random masks.

    `sum_s score_s m_s / sum_s m_s` over random masks m_s (Petsiuk et al. 2018, arXiv:1806.07421). A
    mask is a random grid of 0 and 1, bilinearly enlarged to (cells + 1) / cells of the image and
    cropped at random. All values are scores: their differences count, not their zero.

    Differs from the paper, which divides by `samples * p` instead of by the sum of the masks (as
    here and in xplique). Both have the same limit, but the paper's adds the mean score times how
    often a pixel happened to be visible, which hides small differences of large scores. The paper
    also takes probabilities, where `target` is a logit unless you pass another objective.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`. The layer
            must have maps.
        samples: masks per image, one evaluation each. All images have the same masks.
        cells: cells of the grid, one number for both axes or (rows, columns). The paper's 7.
        p: the probability that a cell is visible.
        seed: an int or a JAX key.
        progress: show a bar when it takes longer than two seconds.

    Returns: `[B, H, W, 1]`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.rise(model, images, samples=16, cells=4).values.shape
        (2, 24, 32, 1)
    """
    samples, p = check_samples(samples), check_scalar(p, "p", low=0, high=1)
    if is_known(p) and not 1e-3 <= p <= 1 - 1e-3:
        raise ValueError(f"p={p!r} must be in 0.001..0.999: nearly every mask would be the same.")
    query = ask(model, images, target, layer=layer, baseline=baseline)
    height, width = map_size(query, "rise")
    grid = cells_of(cells, (max(height, CELLS), max(width, CELLS)))
    masks = SmoothMasks(key=as_key(seed), p=jnp.asarray(p, jnp.float32), cells=grid)
    values = visible_means(query, masks, (height, width, 1), samples, batch_size=batch_size, progress=progress)
    return Attribution(values=values, scores=scores_of(query, query.values, batch_size), method="rise", layer=query.layer)


def visible_means(
    query: Query, masks: Any, shape: tuple[int, ...], samples: int, *, batch_size: int | None, progress: bool
) -> Float[Array, "b *axes"]:
    """Return the mean score, weighted with each value of masks of that shape.

    It is 0 where no mask shows anything.
    """
    zero = jnp.zeros((query.count, *shape))
    seen, weight = accumulate(_add, query, masks, (zero, zero), samples, batch_size=batch_size, progress=progress, label="rise")
    return jnp.where(weight > 0, seen / jnp.where(weight > 0, weight, 1), 0)


def _add(query: Query, masks: Any, image: jax.Array, number: jax.Array, alive: jax.Array, state: Any) -> Any:
    shown = masks.masks(query, image, number)
    scores = query.scores(blend(query, shown))
    shown = jnp.where(over(alive, shown), shown, 0).astype(state[0].dtype)
    return state[0].at[image].add(over(scores, shown) * shown), state[1].at[image].add(shown)
