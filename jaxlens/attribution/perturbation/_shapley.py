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
from jaxlens.attribution.perturbation._features import Features, as_features
from jaxlens.attribution.perturbation._masked import FeatureMasks, masked_scores
from jaxlens.attribution.perturbation._surrogate import all_masks
from jaxlens.model import Model

MAX_EXACT = 12  # features whose 2**12 coalitions are all tried


@method()
def shapley_values(
    model: Model,
    images: Images,
    target: Any = None,
    *,
    layer: str | None = None,
    baseline: Any = None,
    features: Any = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """The exact Shapley values: what a feature adds to the score, averaged over all orders of adding them.

    `sum over S without i of |S|! (M - |S| - 1)! / M! * (score(S and i) - score(S))` from the scores of all `2**M` coalitions,
    the other features at the baseline (Shapley 1953, doi:10.1515/9781400881970-018). They add up to `score(x) - score(x')`.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`.
        features: see `feature_ablation`; at most 12.
        progress: show a bar when it takes longer than two seconds.

    Returns: at each value its feature's share, so `delta` is of the sum over features. C = 1 if the features have no axis of
    channels.
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
    """The Shapley values of games given by the worth of every coalition, as binary numbers count."""
    features = found.shape[1].bit_length() - 1
    design = np.arange(2**features)[:, None] >> np.arange(features)[None] & 1
    size = design.sum(1, keepdims=True)
    # a coalition of k counts for those in it as the end of a step, and against those outside as the start of one
    chance = np.array([1 / (features * comb(features - 1, k)) for k in range(features)])
    worth = np.where(design == 1, chance[np.maximum(size - 1, 0)], -chance[np.minimum(size, features - 1)])
    return jnp.matmul(found - found[:, :1], jnp.asarray(worth, found.dtype), precision="highest")


@pytree
class Walks:
    """Coalitions met when features are added in an order. Number 0 is empty and 1 full; then come those between, by order."""

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
    target: Any = None,
    *,
    layer: str | None = None,
    baseline: Any = None,
    features: Any = None,
    permutations: int = 25,
    antithetic: bool = True,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Shapley values from random orders: what a feature adds to the score when added, averaged over orders.

    Castro et al. 2009, doi:10.1016/j.cor.2008.04.004. What is added in one order adds up to `score(x) - score(x')`, so the
    values do for any number of orders.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`.
        features: see `feature_ablation`.
        permutations: orders, each of `features - 1` evaluations. captum: 25. The orders are the same for every image.
        antithetic: whether every second order is the one before backwards, which lessens the variance (Mitchell et al. 2022,
            arXiv:2104.12199); captum's are all independent.
        seed: an int or a JAX key.
        progress: show a bar when it takes longer than two seconds.

    Returns: at each value its feature's share, so `delta` is of the sum over features. C = 1 if the features have no axis of
    channels.
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
    """The place of each feature in random orders; every second one may be the one before backwards."""

    def ranks(number: Any) -> jax.Array:
        draws = jax.random.uniform(jax.random.fold_in(key, number // 2 if antithetic else number), (features,))
        order = jnp.argsort(draws)
        return jnp.where(antithetic & (number % 2 == 1), features - 1 - order, order)

    return jax.vmap(ranks)(jnp.arange(permutations))


@jax.jit
def walked_shares(found: Float[Array, "b s"], ranks: Any) -> Float[Array, "b f"]:
    """What each feature added, averaged over the orders of `Walks`."""
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
