"""Attribution along the straight line from a baseline: integrated gradients and relatives."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import as_array, as_key, check_choice, check_finite, check_images, check_number, check_scalar, is_known
from jaxlens._numerics import over
from jaxlens._pytree import pytree
from jaxlens._types import Images, Seed
from jaxlens.attribution._batches import check_samples
from jaxlens.attribution._entry import entry, varying
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._query import INPUT, Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import BaselineLike, BaselinesLike, TargetLike
from jaxlens.attribution.gradient._quadrature import MAX_GAUSS, QUADRATURES, Quadrature, nodes
from jaxlens.attribution.gradient._saliency import total
from jaxlens.attribution.gradient._sums import Sample, gradient_sums
from jaxlens.errors import IncompleteWarning
from jaxlens.model import Model, check_model

MAX_NOISE, MAX_SIGMA = 10.0, 1e6  # of images, which are in [0, 1], and of a layer's values
MAX_POINTS = 8  # times the steps asked for, when looking for how many would do


@pytree
class StraightLine:
    """Points between the baseline and the values at the layer."""

    points: Float[Array, " s"]
    weights: Float[Array, " s"]

    def sample(self, query: Query, index: jax.Array) -> Sample:
        at = over(self.points[index], query.values).astype(query.values.dtype)
        return Sample(values=query.baseline + at * (query.values - query.baseline), weights=self.weights[index])


@pytree
class ImageLine:
    """Points between a baseline image and the image, whatever the layer."""

    start: Float[Array, "b h w c"]
    points: Float[Array, " s"]
    weights: Float[Array, " s"]

    def sample(self, query: Query, index: jax.Array) -> Sample:
        at = over(self.points[index], query.images)
        start = jnp.broadcast_to(self.start, query.images.shape)
        return Sample(images=start + at * (query.images - start), weights=self.weights[index])


@method()
def integrated_gradients(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    steps: int = 50,
    quadrature: Quadrature = "gausslegendre",
    tolerance: float | None = 0.01,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return `(x - x') * integral over a of d score / d x at x' + a (x - x')`.

    Sundararajan et al. 2017, arXiv:1703.01365. Values add up to `score(x) - score(x')`. At a layer,
    x and x' are its values for the image and for the baseline image, joined by a straight line
    (captum's LayerIntegratedGradients).

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`.
        steps: gradients per image. 50 is captum's and the paper's number.
        quadrature: the sum that stands for the integral: "gausslegendre" (captum's default),
            "trapezoid", "middle", "left" or "right". Weights add up to 1, unlike those of captum's
            riemann_trapezoid.
        tolerance: share of the difference in score that may be missing. Beyond it, a warning says
            so, and how many steps would do; that number is found by trying, up to 8 times as many.
            None never warns.
        progress: show a bar when it takes longer than two seconds.

    Warns:
        IncompleteWarning: where `|delta|` is more than `tolerance` of the difference in score.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.integrated_gradients(model, images, 3, steps=8, tolerance=None)
        >>> found.values.shape, found.delta.shape
        ((2, 24, 32, 3), (2,))
    """
    check_choice(quadrature, "quadrature", QUADRATURES)
    steps = check_samples(steps, "steps")
    if tolerance is not None:
        tolerance = check_number(tolerance, "tolerance", low=0)
    query = ask(model, images, target, layer=layer, baseline=baseline)
    values = _integrate(query, steps, quadrature, batch_size, progress)
    scores, start = ends(query, batch_size)
    delta = total(values) - (scores - start)
    if tolerance is not None and is_known(delta):
        _warn(query, delta, scores - start, tolerance, steps, quadrature, batch_size)
    return Attribution(
        values=values, scores=scores, delta=delta, baseline_scores=start, method="integrated_gradients", layer=query.layer
    )


def _integrate(query: Query, steps: int, quadrature: str, batch_size: int | None, progress: bool) -> jax.Array:
    points, weights = map(jnp.asarray, nodes(quadrature, steps))
    line = StraightLine(points=points, weights=weights)
    sums = gradient_sums(query, line, steps, batch_size=batch_size, progress=progress, label="integrated gradients")
    return (query.values - query.baseline) * sums.first


def ends(query: Query, batch_size: int | None) -> tuple[jax.Array, jax.Array]:
    """Return the scores at both ends of the path."""
    return scores_of(query, query.values, batch_size), scores_of(query, query.baseline, batch_size)


def _warn(
    query: Query, delta: jax.Array, change: jax.Array, tolerance: float, steps: int, quadrature: str, batch_size: int | None
) -> None:
    """Warn of the images that are incomplete, and say how many steps would do."""
    missing = np.abs(np.asarray(delta)) > tolerance * np.abs(np.asarray(change))
    if not missing.any():
        return
    worst = float(np.max(np.abs(np.asarray(delta))[missing] / np.maximum(np.abs(np.asarray(change))[missing], 1e-12)))
    which = np.flatnonzero(missing)
    rest, more = which, steps
    while len(rest) and more < MAX_POINTS * steps and (quadrature != "gausslegendre" or 2 * more <= MAX_GAUSS):
        more *= 2
        part = query.at(rest)
        delta_of = np.asarray(total(_integrate(part, more, quadrature, batch_size, False))) - np.asarray(change)[rest]
        rest = rest[np.abs(delta_of) > tolerance * np.abs(np.asarray(change)[rest])]
    enough = f"steps={more} would do" if not len(rest) else f"{more} steps are not enough either: the score may be noisy there"
    warnings.warn(
        f"Integrated gradients with {steps} steps miss more than {tolerance:.3g} of the difference in score for "
        f"{len(which)} of {query.count} image(s) ({', '.join(map(str, which[:8]))}{', ...' if len(which) > 8 else ''}; "
        f"at worst {worst:.3g} of it): {enough}.",
        IncompleteWarning,
        stacklevel=5,
    )


@entry
def internal_influence(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str,
    baseline: BaselineLike = None,
    steps: int = 50,
    quadrature: Quadrature = "gausslegendre",
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return the mean gradient at a layer while the image moves from the baseline image.

    `integral over a of d score / d h at x' + a (x - x')` (Leino et al. 2018, arXiv:1802.03788). The
    gradient is not multiplied by anything, so it adds up to nothing.

    Args:
        model, images, target, steps, quadrature, batch_size, progress: see `integrated_gradients`.
        layer: the layer whose values are h.
        baseline: one image for all: a number or `[H, W, C]`; black by default.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.internal_influence(model, images, 3, layer="pool2", steps=4).values.shape
        (2, 6, 8, 64)
    """
    check_choice(quadrature, "quadrature", QUADRATURES)
    steps = check_samples(steps, "steps")
    query = ask(model, images, target, layer=check_model(model).resolve(layer))
    points, weights = map(jnp.asarray, nodes(quadrature, steps))
    line = ImageLine(start=start_image(model, query, baseline), points=points, weights=weights)
    sums = gradient_sums(query, line, steps, batch_size=batch_size, progress=progress, label="internal influence")
    scores = ends(query, batch_size)[0]
    return Attribution(values=sums.first, scores=scores, method="internal_influence", layer=query.layer)


def start_image(model: Model, query: Query, baseline: Any) -> jax.Array:
    """Return a baseline image for methods whose path lies among images.

    Its shape is `[1, H, W, C]`: it is one for all images.
    """
    shape = query.images.shape
    given = as_array(0.0 if baseline is None else baseline, "baseline", "a number or one image").astype(query.images.dtype)
    if given.shape not in ((), shape[1:], (1, *shape[1:])):
        raise ValueError(f"baseline has shape {given.shape}, but must be one image for all: a number, or of shape {shape[1:]}.")
    return check_images(jnp.broadcast_to(given, (1, *shape[1:])), name="baseline", channels=model.channels)


@pytree
class RandomLine:
    """Random points between random baselines and the values at the layer."""

    key: Any
    baselines: Float[Array, "k *axes"]
    sigma: Float[Array, ""]
    samples: Any

    def sample(self, query: Query, index: jax.Array) -> Sample:
        keys = jax.vmap(lambda s: jax.random.split(jax.random.fold_in(self.key, s), 3))(index)
        which = jax.vmap(lambda key: jax.random.randint(key, (), 0, self.baselines.shape[0]))(keys[:, 0])
        at = over(jax.vmap(jax.random.uniform)(keys[:, 1]), query.values)
        noise = jax.vmap(lambda key: jax.random.normal(key, query.values.shape[1:], query.values.dtype))(keys[:, 2])
        start, x = self.baselines[which], query.values + self.sigma * noise
        weights = jnp.ones(index.shape, x.dtype) / self.samples
        return Sample(values=start + at * (x - start), weights=weights, factor=x - start)


@entry
def expected_gradients(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    baselines: BaselinesLike,
    layer: str | None = None,
    samples: int = 50,
    sigma: float = 0.0,
    seed: Seed = 0,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Average integrated gradients over baselines, by samples of a baseline and a point on the way.

    `E over x', a of (x - x') * d score / d x at x' + a (x - x')`: the Shapley values of SHAP's
    GradientExplainer, captum's GradientShap (Erion et al. 2021, arXiv:1906.10670). With more
    samples, the sum of values approaches `score(x) - E score(x')`; `delta` is what it lacks.

    Args:
        model, images, target, layer, batch_size: see `jaxlens.attribution`.
        baselines: images in [0, 1] to draw from, such as other photographs, `[K, H, W, C]`; of the
            layer's shape, `[K, ...]`, if there is a layer.
        samples: gradients per image. captum: 5.
        sigma: standard deviation of Gaussian noise added to the image (captum's `stdevs`, 0).
        seed: an int or a JAX key. Draws are the same for every image of a batch.
        progress: show a bar when it takes longer than two seconds.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> others = jax.random.uniform(jax.random.key(1), (3, 24, 32, 3))
        >>> attribution.expected_gradients(model, images, baselines=others, samples=4).values.shape
        (2, 24, 32, 3)
    """
    samples = check_samples(samples)
    query = ask(model, images, target, layer=layer)
    given = check_baselines(baselines, query)
    most = MAX_NOISE if query.layer == INPUT else MAX_SIGMA
    spread = jnp.asarray(check_scalar(sigma, "sigma", low=0, high=most), given.dtype)
    draws = RandomLine(key=as_key(seed), baselines=given, sigma=spread, samples=jnp.asarray(samples))
    values = gradient_sums(query, draws, samples, batch_size=batch_size, progress=progress, label="expected gradients").first
    scores, _ = ends(query, batch_size)
    start = _mean_score(query, given, batch_size)
    return Attribution(
        values=values,
        scores=scores,
        delta=total(values) - (scores - start),
        baseline_scores=start,
        method="expected_gradients",
        layer=query.layer,
    )


def check_baselines(baselines: Any, query: Query) -> jax.Array:
    """Return several baselines `[K, ...]` at the query's layer, shared by its images."""
    given, shape = as_array(baselines, "baselines", "an array of baselines [K, ...]"), query.values.shape[1:]
    given = given.astype(query.values.dtype)
    if given.ndim != query.values.ndim or given.shape[1:] != shape or not given.shape[0]:
        raise ValueError(f"baselines has shape {given.shape}, but [K, {', '.join(map(str, shape))}] is needed.")
    if query.layer == INPUT:
        given = check_images(given, name="baselines", channels=query.model.channels)
    return varying(jnp.asarray(check_finite(given, "baselines")), query.values)


def _mean_score(query: Query, baselines: jax.Array, batch_size: int | None) -> jax.Array:
    """Return each target's mean score over the baselines."""
    many, k = query.count, baselines.shape[0]
    pairs = query.at(jnp.repeat(jnp.arange(many), k))
    return scores_of(pairs, jnp.tile(baselines, (many,) + (1,) * (baselines.ndim - 1)), batch_size).reshape(many, k).mean(1)
