"""Shapley values, by all coalitions or by random orders."""

import functools
from math import comb
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxlens._checks import as_key, check_int
from jaxlens._pytree import pytree
from jaxlens._types import Images, Seed
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import BaselineLike, FeaturesLike, TargetLike
from jaxlens.attribution.perturbation._features import Features, as_features
from jaxlens.attribution.perturbation._masked import FeatureMasks, masked_scores
from jaxlens.attribution.perturbation._surrogate import all_masks
from jaxlens.model import Model

MAX_EXACT = 12  # features whose 2**12 coalitions are all tried


@method()
def shapley_values(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    features: FeaturesLike = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return exact Shapley values: a feature's contribution, averaged over all orders of adding it.

    `sum over S without i of |S|! (M - |S| - 1)! / M! * (score(S and i) - score(S))` from the scores
    of all `2**M` coalitions S of M features, the other features at the baseline (Shapley 1953,
    doi:10.1515/9781400881970-018). The values add up to `score(x) - score(x')`.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`.
        features: see `feature_ablation`; at most 12.
        progress: show a bar when it takes longer than two seconds.

    Returns: at each value its feature's share; `delta` counts each feature once. C = 1 if the
        features have no axis of channels.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> quarters = attribution.grid_features((24, 32), 2)
        >>> found = attribution.shapley_values(model, images, features=quarters)
        >>> found.values.shape, bool(abs(found.delta).max() < 1e-4)
        ((2, 24, 32, 1), True)
    """
    query = ask(model, images, target, layer=layer, baseline=baseline)
    groups = as_features(features, query, most=MAX_EXACT)
    if groups.count > MAX_EXACT:
        raise ValueError(
            f"features holds {groups.count} features, whose 2**{groups.count} coalitions are too many; {MAX_EXACT} is the "
            "most. Use shapley_sampling or kernel_shap, or fewer features (see attribution.grid_features)."
        )
    design = all_masks(groups.count)
    masks = FeatureMasks(keep=design, features=groups.numbers)
    found = masked_scores(query, masks, design.shape[0], batch_size=batch_size, progress=progress, label="shapley values")
    return _shares("shapley_values", exact_shares(found), found[:, 0], found[:, -1], groups, query)


@jax.jit
def exact_shares(found: Float[Array, "b s"]) -> Float[Array, "b f"]:
    """Return the Shapley values of games given by the worth of every coalition.

    Coalitions are ordered as binary numbers count.
    """
    features = found.shape[1].bit_length() - 1
    design = np.arange(2**features)[:, None] >> np.arange(features)[None] & 1
    size = design.sum(1, keepdims=True)
    # A coalition of k features is the end of a step of each feature in it, and counts for that
    # feature; it is the start of a step of each feature outside, and counts against that one.
    chance = np.array([1 / (features * comb(features - 1, k)) for k in range(features)])
    worth = np.where(design == 1, chance[np.maximum(size - 1, 0)], -chance[np.minimum(size, features - 1)])
    return jnp.matmul(found - found[:, :1], jnp.asarray(worth, found.dtype), precision="highest")


@pytree
class Walks:
    """Masks of permutation sampling.

    Number 0 shows nothing, number 1 everything, and number `2 + p * (F - 1) + k` the first k + 1
    features of order p.
    """

    ranks: Any  # int [P, F], the place of each feature in each order
    features: Features

    def masks(self, query: Query, image: jax.Array, number: jax.Array) -> Any:
        length = self.features.count
        between = max(length - 1, 1)
        walk, step = (number - 2) // between, 1 + (number - 2) % between
        step = jnp.where(number == 0, 0, jnp.where(number == 1, length, step))
        keep = (self.ranks[jnp.maximum(walk, 0)] < step[:, None]).astype(query.values.dtype)
        each = FeatureMasks(keep=keep, features=self.features.numbers)
        return each.masks(query, image, jnp.arange(number.shape[0]))


@method()
def shapley_sampling(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    features: FeaturesLike = None,
    permutations: int = 25,
    antithetic: bool = True,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Estimate Shapley values from random orders of adding the features.

    A feature's value is what it adds to the score when its turn comes, averaged over orders (Castro
    et al. 2009, doi:10.1016/j.cor.2008.04.004). In each order these add up to
    `score(x) - score(x')`, so the values do for any number of orders.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`.
        features: see `feature_ablation`.
        permutations: orders, `features - 1` evaluations each. captum: 25. All images have the same
            orders.
        antithetic: make every second order the reverse of the one before, which lessens the
            variance (Mitchell et al. 2022, arXiv:2104.12199). captum's orders are all independent.
        seed: an int or a JAX key.
        progress: show a bar when it takes longer than two seconds.

    Returns: at each value its feature's share; `delta` counts each feature once. C = 1 if the
        features have no axis of channels.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> cells = attribution.grid_features((24, 32), 3)
        >>> attribution.shapley_sampling(model, images, features=cells, permutations=2).values.shape
        (2, 24, 32, 1)
    """
    permutations = check_int(permutations, "permutations", low=1, high=10**5)
    query = ask(model, images, target, layer=layer, baseline=baseline)
    groups, key = as_features(features, query), as_key(seed)
    ranks = orders(key, permutations, groups.count, antithetic)
    masks, count = Walks(ranks=ranks, features=groups), 2 + permutations * (groups.count - 1)
    found = masked_scores(query, masks, count, batch_size=batch_size, progress=progress, label="shapley sampling")
    return _shares("shapley_sampling", walked_shares(found, ranks), found[:, 0], found[:, 1], groups, query)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def orders(key: Any, permutations: int, features: int, antithetic: bool) -> Int[Array, "p f"]:
    """Return the place of each feature in random orders.

    If antithetic, every second order is the reverse of the one before.
    """

    def ranks(number: Any) -> jax.Array:
        draws = jax.random.uniform(jax.random.fold_in(key, number // 2 if antithetic else number), (features,))
        order = jnp.argsort(draws)
        return jnp.where(antithetic & (number % 2 == 1), features - 1 - order, order)

    return jax.vmap(ranks)(jnp.arange(permutations))


@jax.jit
def walked_shares(found: Float[Array, "b s"], ranks: Any) -> Float[Array, "b f"]:
    """Return what each feature added, averaged over the orders of `Walks`."""
    walks = found[:, 2:].reshape(found.shape[0], ranks.shape[0], ranks.shape[1] - 1)
    empty, full = (jnp.broadcast_to(found[:, i, None, None], (*walks.shape[:2], 1)) for i in (0, 1))
    steps = jnp.diff(jnp.concatenate([empty, walks, full], axis=2), axis=2)
    return jnp.take_along_axis(steps, jnp.broadcast_to(ranks[None], steps.shape), axis=2).mean(1)


def _shares(method: str, shares: jax.Array, start: jax.Array, scores: jax.Array, groups: Features, query: Query) -> Attribution:
    return Attribution(
        values=groups.spread(shares, query),
        scores=scores,
        delta=shares.sum(1) - (scores - start),
        baseline_scores=start,
        method=method,
        layer=query.layer,
    )
