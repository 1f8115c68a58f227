"""Whether attributions add up to what taking parts away does to the score."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import as_array, as_key, check_finite, check_int, check_number
from jaxlens._numerics import ratio
from jaxlens._pytree import field, pytree
from jaxlens._types import Images, Seed
from jaxlens.attribution._batches import accumulate, check_samples
from jaxlens.attribution._draws import drawn
from jaxlens.attribution._entry import entry
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._query import Query
from jaxlens.attribution._types import BaselineLike, Perturbation, TargetLike, ValuesLike
from jaxlens.attribution.gradient._noise import check_sigma
from jaxlens.attribution.metrics._inputs import check_values, map_of, metric_query
from jaxlens.attribution.metrics._similarity import rank_correlation
from jaxlens.attribution.perturbation._features import grid_features
from jaxlens.attribution.perturbation._masked import FeatureMasks, masked_scores
from jaxlens.model import Model


def pixel_cells(size: tuple[int, int], grid: int) -> np.ndarray:
    """Return the number of each pixel's cell in a grid, `[H, W]`.

    Cells differ by at most one row or column.
    """
    check_int(grid, "grid", low=2, high=min(size))
    return grid_features(size, grid)


@functools.partial(jax.jit, static_argnames=("cells", "taken"))
def random_sets(key: Any, number: jax.Array, cells: int, taken: int) -> Float[Array, "s f"]:
    """Return sets of exactly `taken` cells: 1 for these, else 0.

    Each depends on the key and its number only.
    """
    draw = lambda number: jax.random.permutation(jax.random.fold_in(key, number), cells)  # noqa: E731
    return (jax.vmap(draw)(number) < taken).astype(jnp.float32)


def check_subset(subset: float, cells: int) -> int:
    """Return how many cells a subset has: at least one, and not all."""
    if (subset := check_number(subset, "subset", above=0, high=1)) == 1:
        raise ValueError(f"subset={subset!r} must be between 0 and 1: a share of the cells.")
    return min(max(round(subset * cells), 1), cells - 1)


@entry
def mu_fidelity(
    model: Model,
    images: Images,
    values: ValuesLike,
    target: TargetLike = None,
    *,
    baseline: BaselineLike = None,
    grid: int = 9,
    subset: float = 0.2,
    samples: int = 200,
    score: str = "probability",
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Float[Array, " b"]:
    """Correlate the attributions of random sets of pixels with what the score loses without each.

    Spearman's correlation (Bhatt et al. 2020, arXiv:2005.00631), in [-1, 1]; high is good.

    Args:
        model, images, target, baseline, batch_size: see `jaxlens.attribution`.
        values, score: as in `deletion`. A set's attribution is the sum over its pixels.
        grid: the image is cut into this many rows and columns of cells (xplique: 9).
        subset: the share of the cells that a set has.
        samples: sets, the same for all images.
        seed: an int or a JAX key.
        progress: show a bar when it takes longer than two seconds.

    Returns: `[B]`; 0 where attributions or scores are all alike: they order nothing.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.input_x_gradient(model, images)
        >>> attribution.metrics.mu_fidelity(model, images, found, grid=4, samples=8).shape
        (2,)
    """
    samples = check_samples(samples, low=2)
    query = metric_query(model, images, target, score, baseline)
    maps, cells = map_of(values, query), pixel_cells(query.size, grid)
    taken = check_subset(subset, grid**2)
    sets = random_sets(as_key(seed), jnp.arange(samples), grid**2, taken)
    masks = FeatureMasks(keep=1 - sets, features=jnp.asarray(cells)[..., None])
    left = masked_scores(query, masks, samples, batch_size=batch_size, progress=progress, label="mu fidelity")
    drops = scores_of(query, query.values, batch_size)[:, None] - left
    return rank_correlation(_sums(maps, jnp.asarray(cells), sets), drops)


@jax.jit
def _sums(maps: Float[Array, "b h w"], cells: Any, sets: Float[Array, "s f"]) -> Float[Array, "b s"]:
    """Return each set's attribution."""
    per_cell = jnp.zeros((maps.shape[0], sets.shape[1]), maps.dtype).at[:, cells].add(maps)
    return jnp.einsum("sf,bf->bs", sets, per_cell, precision=jax.lax.Precision.HIGHEST)


@pytree
class RandomCells:
    """Removal of random cells: the change is x - x' there."""

    key: Any
    cells: Any  # int [H, W]
    count: int = field(static=True)
    taken: int = field(static=True)

    def removed(self, number: jax.Array) -> jax.Array:
        """Return 1 where a pixel is removed, `[n, H, W, 1]`."""
        return random_sets(self.key, number, self.count, self.taken)[:, self.cells][..., None]

    def change(self, query: Query, image: jax.Array, number: jax.Array) -> jax.Array:
        return self.removed(number) * (query.values - query.baseline)


@pytree
class Noise:
    """Normal noise of some standard deviation, the same for all images."""

    key: Any
    sigma: Any

    def change(self, query: Query, image: jax.Array, number: jax.Array) -> jax.Array:
        return self.sigma * drawn(self.key, number, query.values.shape[1:], query.values.dtype)


@pytree
class GivenChanges:
    """Changes in an array, `[S, H, W, C]` or `[B, S, H, W, C]`."""

    each: Float[Array, "*bs h w c"]

    def change(self, query: Query, image: jax.Array, number: jax.Array) -> jax.Array:
        return self.each[number] if self.each.ndim == 4 else self.each[image, number]


@entry
def infidelity(
    model: Model,
    images: Images,
    values: ValuesLike,
    target: TargetLike = None,
    *,
    baseline: BaselineLike = None,
    perturbation: Perturbation = "cells",
    multiplied: bool = True,
    normalize: bool = False,
    samples: int = 10,
    grid: int = 9,
    subset: float = 0.2,
    sigma: float = 0.1,
    score: str = "logit",
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Float[Array, " b"]:
    """Return the mean squared error of the drops in score that an attribution predicts.

    `E over I of (I . phi - (f(x) - f(x - I)))**2` over perturbations I (Yeh et al. 2019,
    arXiv:1901.09392).

    Args:
        model, images, target, baseline, batch_size: see `jaxlens.attribution`.
        values: an `Attribution` or its array phi. With "cells" and `multiplied`, maps of another
            size are resized bilinearly and channels summed; else phi must have the shape of the
            images.
        perturbation: what I is. "cells": `m (x - x')` for the mask m of a random set of cells,
            which the baseline replaces. "noise": normal noise. Or the changes themselves,
            `[S, H, W, C]` or `[B, S, H, W, C]`.
        multiplied: True if phi has the factor `x - x'`, as integrated gradients, Shapley values and
            all other methods that share out a difference in score. Then phi / (x - x') stands in
            phi's place above (captum's `multiply_by_inputs`), so that removing everything gives
            `delta**2`, and nothing is predicted where x = x'. False for gradients.
        normalize: scale phi by the one factor per image that makes the infidelity least, so that
            scale does not count.
        samples: perturbations, the same for all images unless given. captum: 10.
        grid, subset: of "cells", as in `mu_fidelity`.
        sigma: standard deviation of "noise".
        score: what was attributed: for a class its "logit", as by every method here unless told
            otherwise, or its "probability"; any other target is itself.
        seed: an int or a JAX key.
        progress: show a bar when it takes longer than two seconds.

    Returns: `[B]`, in squares of the score's unit; 0 is best.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.input_x_gradient(model, images)
        >>> attribution.metrics.infidelity(model, images, found, samples=4).shape
        (2,)
    """
    query = metric_query(model, images, target, score, baseline)
    samples = check_samples(samples)
    if isinstance(perturbation, str) and perturbation == "cells":
        cells = jnp.asarray(pixel_cells(query.size, grid))
        changes: Any = RandomCells(key=as_key(seed), cells=cells, count=grid**2, taken=check_subset(subset, grid**2))
    elif isinstance(perturbation, str) and perturbation == "noise":
        changes = Noise(key=as_key(seed), sigma=check_sigma(sigma, query))
    else:
        changes = _given(perturbation, query)
        samples = changes.each.shape[-4]
    if isinstance(changes, RandomCells) and multiplied:
        values = map_of(values, query)[..., None]
    else:
        values = check_values(values, query.count)
        if values.shape != query.values.shape:
            raise ValueError(
                f"values has shape {values.shape}, but {query.values.shape} is needed, one number for each that changes; maps "
                "of other sizes can be judged by perturbation='cells' with multiplied=True."
            )
    step, work = _STEPS[bool(multiplied)], (changes, values, scores_of(query, query.values, batch_size))
    state = jnp.zeros((2, query.count, samples), jnp.float32)
    found = accumulate(step, query, work, state, samples, batch_size=batch_size, progress=progress, label="infidelity")
    return _mean_square(found, normalize)


@functools.partial(jax.jit, static_argnames="normalize")
def _mean_square(found: Float[Array, "2 b s"], normalize: bool) -> Float[Array, " b"]:
    foretold, lost = found
    if normalize:
        foretold = ratio((foretold * lost).sum(1), jnp.square(foretold).sum(1))[:, None] * foretold
    return jnp.square(foretold - lost).mean(1)


def _given(perturbation: Any, query: Query) -> GivenChanges:
    shape = query.values.shape
    legal = "'cells', 'noise', or changes [S, H, W, C]"
    array = None if isinstance(perturbation, str) else as_array(perturbation, "perturbation", legal)
    if (
        array is None
        or array.ndim not in (4, 5)
        or not array.size
        or array.shape[-3:] != shape[1:]
        or array.shape[:-4] not in ((), shape[:1])
    ):
        shown = repr(perturbation) if array is None else f"an array of shape {array.shape}"
        raise ValueError(
            f"perturbation is {shown}, but must be 'cells', 'noise', or changes of shape [S, {', '.join(map(str, shape[1:]))}] "
            f"or [{shape[0]}, S, ...]."
        )
    return GivenChanges(each=check_finite(array.astype(query.values.dtype), "perturbation"))


def _foretold_and_lost(
    query: Query, work: Any, image: jax.Array, number: jax.Array, alive: jax.Array, state: jax.Array, *, multiplied: bool
) -> jax.Array:
    """Return the state with `I . phi` and what the score loses."""
    changes, values, scores = work
    change = changes.change(query, image, number)
    if multiplied and isinstance(changes, RandomCells):
        share = changes.removed(number)
    else:
        share = ratio(change, query.values - query.baseline) if multiplied else change
    foretold = (share * values[image]).sum((1, 2, 3))
    lost = scores[image] - query.scores(query.values - change)
    return state.at[:, image, number].set(jnp.stack([foretold, lost]).astype(state.dtype))


_STEPS = {multiplied: functools.partial(_foretold_and_lost, multiplied=multiplied) for multiplied in (True, False)}
