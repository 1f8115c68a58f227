"""Attribution by a linear model fitted to the scores of random masks: LIME and KernelSHAP."""

import functools
from math import comb
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import as_key, check_choice, check_int, check_scalar, shortened
from jaxlens._types import Images, Seed
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._query import ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import BaselineLike, FeaturesLike, TargetLike
from jaxlens.attribution.perturbation._features import as_features
from jaxlens.attribution.perturbation._masked import FeatureMasks, masked_scores
from jaxlens.model import Model

MAX_MASKS = 10**6  # the fit needs all of them in memory
MAX_SWEEPS, ENOUGH = 1000, 1e-6  # coordinate descent ends there, or at this relative change
# The lime package's widths of sqrt(exp(-d^2 / w^2)), as widths of our kernel: for images, and for
# tables per sqrt(features).
COSINE_WIDTH, L2_WIDTH = 0.25 * 2**0.5, 0.75 * 2**0.5

Distance = Literal["cosine", "l2"]
Penalty = Literal["ridge", "lasso"]


@method()
def lime(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    features: FeaturesLike = None,
    samples: int = 1000,
    distance: Distance = "cosine",
    width: float | None = None,
    penalty: Penalty = "ridge",
    alpha: float = 1e-3,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Fit a linear model of the score near the image; return its weights.

    Ribeiro et al. 2016, arXiv:1602.04938. The model is fitted to masks z that show half the
    features at random. It minimizes `E k(z) (score(z) - a - w z)**2 / 2 + alpha * |w|`. The mean is
    weighted with `k(z) = exp(-d**2 / width**2)`, where d is the distance of z from all ones. The
    intercept a costs nothing. Where all masks are no more than `samples`, each is taken once and
    nothing is random.

    Differs from captum, which measures d between the images, not the masks. captum and the lime
    package write their kernels `exp(-d**2 / 2 s**2)`: width = s * sqrt(2).

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`.
        features: see `feature_ablation`.
        samples: masks per image. lime: 1000; captum: 25; xplique: 150. All images have the same
            masks.
        distance: "cosine", `1 - sqrt(share of features shown)`, or "l2", `sqrt(features hidden)`.
        width: width of the kernel; by default the lime package's, 0.35 for cosine and
            1.06 * sqrt(features) for l2.
        penalty: "ridge", `|w| = sum w**2 / 2`, or "lasso", `sum |w|`.
        alpha: factor of the penalty, whatever the number of samples. scikit-learn's Lasso (captum:
            0.01) has the same. Its Ridge (lime: 1, xplique: 2) sums where this averages:
            alpha = theirs / sum of weights.
        seed: an int or a JAX key.
        progress: show a bar when it takes longer than two seconds.

    Returns: at each value its feature's weight; C = 1 if the features have no axis of channels.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> cells = attribution.grid_features((24, 32), (3, 4))  # or superpixels
        >>> attribution.lime(model, images, features=cells, samples=20).values.shape
        (2, 24, 32, 1)
    """
    check_choice(distance, "distance", ("cosine", "l2"))
    check_choice(penalty, "penalty", ("ridge", "lasso"))
    samples = check_int(samples, "samples", low=2, high=MAX_MASKS)
    alpha = _positive(alpha, "alpha")
    query = ask(model, images, target, layer=layer, baseline=baseline)
    groups, key = as_features(features, query), as_key(seed)
    whole = 2**groups.count <= samples
    design = all_masks(groups.count) if whole else half_masks(key, samples, groups.count)
    weights = proximity(design, distance, width)
    masks = FeatureMasks(keep=design, features=groups.numbers)
    found = masked_scores(query, masks, design.shape[0], batch_size=batch_size, progress=progress, label="lime")
    values = groups.spread(linear_fit(design, found, weights, penalty, alpha), query)
    return Attribution(values=values, scores=scores_of(query, query.values, batch_size), method="lime", layer=query.layer)


def all_masks(features: int) -> Float[Array, "s f"]:
    """Return every mask of so many features, as binary numbers count.

    The first shows none, the last all.
    """
    return jnp.asarray(_all_masks(features))


def _all_masks(features: int) -> np.ndarray:
    return (np.arange(2**features)[:, None] >> np.arange(features)[None] & 1).astype(np.float32)


@functools.partial(jax.jit, static_argnums=(1, 2))
def half_masks(key: Any, samples: int, features: int) -> Float[Array, "s f"]:
    """Return random masks that show half the features on average."""
    draw = jax.vmap(lambda s: jax.random.bernoulli(jax.random.fold_in(key, s), 0.5, (features,)))
    return draw(jnp.arange(samples)).astype(jnp.float32)


def proximity(design: Float[Array, "s f"], distance: Distance, width: float | None) -> Float[Array, " s"]:
    """Return how much each mask counts, `exp(-d**2 / width**2)`."""
    features = design.shape[1]
    scale = width if width is not None else COSINE_WIDTH if distance == "cosine" else L2_WIDTH * features**0.5
    if not (scale := _positive(scale, "width")) >= 1e-15:
        raise ValueError(f"width={width!r} must be at least 1e-15: its square would be 0.")
    shown = design.sum(1)
    squared = jnp.square(1 - jnp.sqrt(shown / features)) if distance == "cosine" else features - shown
    return jnp.exp(-(squared - squared.min()) / scale**2)  # the nearest gets 1: a narrow kernel is not all 0


@functools.partial(jax.jit, static_argnums=3)
def linear_fit(
    design: Float[Array, "s f"], outputs: Float[Array, "b s"], weights: Float[Array, " s"], penalty: Penalty, alpha: Any
) -> Float[Array, "b f"]:
    """Return the coefficients of a weighted, penalized least-squares fit with an intercept."""
    weights = weights / weights.sum()
    z = design - (weights @ design)[None]
    y = outputs - (outputs @ weights)[:, None]
    root = jnp.sqrt(weights)
    z, y = z * root[:, None], y * root[None]
    if penalty == "ridge":
        rows = jnp.sqrt(jnp.asarray(alpha, z.dtype)) * jnp.eye(z.shape[1], dtype=z.dtype)
        return least_squares(jnp.concatenate([z, rows]), jnp.pad(y, ((0, 0), (0, z.shape[1]))))
    gram = jnp.matmul(z.T, z, precision="highest")
    return _lasso(gram, jnp.matmul(y, z, precision="highest"), alpha)


def least_squares(z: Float[Array, "s f"], y: Float[Array, "b s"]) -> Float[Array, "b f"]:
    """Return the shortest w that minimizes `|y - z w|`, for each y."""
    with jax.default_matmul_precision("highest"):
        return jnp.linalg.lstsq(z, y.T)[0].T


def _lasso(gram: Float[Array, "f f"], moment: Float[Array, "b f"], alpha: Any) -> Float[Array, "b f"]:
    """Minimize `w gram w / 2 - moment w + alpha |w|_1` for all images, by coordinate descent."""
    scale = jnp.diagonal(gram)

    def coordinate(i: Any, w: jax.Array) -> jax.Array:
        rest = moment[:, i] - jnp.matmul(w, gram[i], precision="highest") + w[:, i] * scale[i]
        size = jnp.maximum(jnp.abs(rest) - alpha, 0) / jnp.where(scale[i] > 0, scale[i], 1)
        return w.at[:, i].set(jnp.where(scale[i] > 0, jnp.sign(rest) * size, 0))  # a feature that never changes gets 0

    def sweep(state: Any) -> Any:
        w, _, done = state
        after = jax.lax.fori_loop(0, w.shape[1], coordinate, w)
        return after, jnp.max(jnp.abs(after - w)) > ENOUGH * jnp.max(jnp.abs(after)), done + 1

    start = (jnp.zeros_like(moment), jnp.asarray(True), 0)
    return jax.lax.while_loop(lambda state: state[1] & (state[2] < MAX_SWEEPS), sweep, start)[0]


def _positive(value: Any, name: str) -> Any:
    try:
        return check_scalar(value, name, above=0)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={shortened(value)} must be a number > 0.") from error


@method()
def kernel_shap(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    features: FeaturesLike = None,
    samples: int = 1000,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Estimate Shapley values by a linear fit to random coalitions of features.

    Lundberg and Lee 2017, arXiv:1705.07874. Coalitions of k of M features are drawn with
    probability proportional to `(M - 1) / (k (M - k))`, each with its complement (Covert and Lee
    2021, arXiv:2012.01536). The fit goes exactly through the scores of the image and of the
    baseline, so that the features add up to `score(x) - score(x')` for any number of samples.
    captum and xplique reach that approximately, by a large weight, or not at all. Where all
    coalitions are no more than `samples`, each is taken once and the values are exact.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`.
        features: see `feature_ablation`.
        samples: coalitions per image, besides none and all; at least two per feature. captum: 25;
            xplique: 800. All images have the same coalitions.
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
        >>> found = attribution.kernel_shap(model, images, features=cells, samples=20)
        >>> found.values.shape, bool(abs(found.delta).max() < 1e-4)
        ((2, 24, 32, 1), True)
    """
    samples = check_int(samples, "samples", low=1, high=MAX_MASKS)
    query = ask(model, images, target, layer=layer, baseline=baseline)
    groups, key = as_features(features, query), as_key(seed)
    design, weights = coalitions(key, samples, groups.count)
    masks = FeatureMasks(keep=design, features=groups.numbers)
    found = masked_scores(query, masks, design.shape[0], batch_size=batch_size, progress=progress, label="kernel shap")
    shares = constrained_fit(design, found, weights)
    start, scores = found[:, 0], found[:, 1]
    return Attribution(
        values=groups.spread(shares, query),
        scores=scores,
        delta=shares.sum(1) - (scores - start),
        baseline_scores=start,
        method="kernel_shap",
        layer=query.layer,
    )


def coalitions(key: Any, samples: int, features: int) -> tuple[Float[Array, "s f"], Float[Array, " s"]]:
    """Return coalitions to fit to, and their weights.

    The first is empty and the second full; both have the weight 0.
    """
    ends = jnp.asarray(np.repeat([[0.0], [1.0]], features, axis=1), jnp.float32)
    if 2**features - 2 <= samples:
        some = _all_masks(features)[1:-1]
        weights = np.array([1 / comb(features, k) for k in range(features + 1)])[some.sum(1).astype(int)]
        weights = jnp.asarray(weights * size_law(features)[some.sum(1).astype(int) - 1], jnp.float32)
    elif samples < 2 * features:
        raise ValueError(
            f"samples={samples} cannot tell {features} features apart: take at least {2 * features}, or fewer features "
            "(see attribution.grid_features)."
        )
    else:
        some, weights = _draw(key, jnp.asarray(size_law(features), jnp.float32), samples), jnp.ones(samples)
    design, weights = jnp.concatenate([ends, jnp.asarray(some)]), jnp.concatenate([jnp.zeros(2), weights])
    return design, weights / jnp.maximum(weights.sum(), 1e-30)


def size_law(features: int) -> np.ndarray:
    """Return `(M - 1) / (k (M - k))` for k = 1, ..., M - 1: sizes are drawn in proportion to it."""
    size = np.arange(1, features)
    return (features - 1) / (size * (features - size))


@functools.partial(jax.jit, static_argnums=2)
def _draw(key: Any, law: jax.Array, samples: int) -> jax.Array:
    """Return random coalitions; each odd one is the complement of the one before."""

    def coalition(sample: Any) -> jax.Array:
        draws = jax.random.uniform(jax.random.fold_in(key, sample // 2), (law.shape[0] + 2,))
        chance = jnp.cumsum(law)
        size = 1 + (draws[0] * chance[-1] >= chance[:-1]).sum()
        chosen = jnp.argsort(jnp.argsort(draws[1:])) < size
        return jnp.where(sample % 2 == 1, ~chosen, chosen).astype(jnp.float32)

    return jax.vmap(coalition)(jnp.arange(samples))


@jax.jit
def constrained_fit(
    design: Float[Array, "s f"], outputs: Float[Array, "b s"], weights: Float[Array, " s"]
) -> Float[Array, "b f"]:
    """Minimize `sum weights (outputs - empty - design w)**2` under `sum w = full - empty`.

    `empty` and `full` are the first two outputs. Write w = equal shares + u with `sum u = 0`: only
    the part of the design that lies in that plane counts, and the shortest solution lies in it.
    """
    share = (outputs[:, 1] - outputs[:, 0]) / design.shape[1]
    size = design.sum(1)
    root = jnp.sqrt(weights)
    plane = design - (size / design.shape[1])[:, None]
    rest = outputs - outputs[:, :1] - share[:, None] * size[None]
    return share[:, None] + least_squares(plane * root[:, None], rest * root[None])
