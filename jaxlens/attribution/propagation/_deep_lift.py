"""DeepLift's Rescale rule for any JAX function: slopes from a baseline in place of gradients."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxlens._program import (
    BILINEAR,
    LINEAR,
    LINEAR_IN,
    LOOKUPS,
    POOLING,
    Step,
    chosen_extremum,
    evaluate,
    place_of_extremum,
    tests_nan,
    trace,
)
from jaxlens._types import Images
from jaxlens.attribution._batches import in_batches
from jaxlens.attribution._entry import entry
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import BaselineLike, BaselinesLike, TargetLike
from jaxlens.attribution.gradient._path import check_baselines
from jaxlens.attribution.gradient._saliency import total
from jaxlens.attribution.propagation import _slopes
from jaxlens.attribution.propagation._steps import Read, Way, plain, pointwise, ways
from jaxlens.model import Model


@method()
def deep_lift(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    baseline: BaselineLike = None,
    batch_size: int | None = None,
) -> Attribution:
    """Return `m (x - x')`, where m is chained from slopes: DeepLift with the Rescale rule.

    Shrikumar et al. 2017, arXiv:1704.02685. Every nonlinearity f has the slope
    `(f(u) - f(u')) / (u - u')`. Values add up to `score(x) - score(x')`, up to rounding. It takes
    one pass, where integrated gradients need fifty.

    Every function of the network counts, however it is written (captum knows modules of ten kinds,
    used once each, and passes functional ReLUs by). A max-pool gives its rise to the value that won
    and its fall to the one that had won, and overlapping windows add up (in captum the last of them
    stays, and completeness is lost, as in SqueezeNet). A product of two values that both depend on
    the image, as in attention and normalization, is shared by the mean of the other factor,
    `(b + b') / 2`: complete too, where captum falls back to gradients.

    Functions of one value are taken whole, however many steps they are written in: leaky ReLU, ELU,
    SELU, softplus, GELU, SiLU. Where image and baseline have the same value there, the slope is the
    derivative.

    Args:
        model, images, target, layer, baseline, batch_size: see `jaxlens.attribution`.

    Raises:
        UnsupportedError: for networks with functions that pick by other values than those that they
            return (loops, gathers by the image, `where` with conditions on other values).

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.deep_lift(model, images, 3, baseline=0.5)
        >>> found.values.shape, found.delta.shape
        ((2, 24, 32, 3), (2,))
    """
    query = ask(model, images, target, layer=layer, baseline=baseline)
    values, scores, start = _all_rescaled(query, batch_size)
    return Attribution(
        values=values,
        scores=scores,
        delta=total(values) - (scores - start),
        baseline_scores=start,
        method="deep_lift",
        layer=query.layer,
    )


@entry
def deep_lift_shap(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    baselines: BaselinesLike,
    layer: str | None = None,
    batch_size: int | None = None,
) -> Attribution:
    """Return the mean of `deep_lift` over several baselines, which is near Shapley values.

    Lundberg and Lee 2017, arXiv:1705.07874. Values add up to `score(x)` minus the mean score of the
    baselines.

    Args:
        model, images, target, layer, batch_size: see `jaxlens.attribution`.
        baselines: images in [0, 1], `[K, H, W, C]`, or values of the layer's shape, `[K, ...]`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> others = jax.random.uniform(jax.random.key(1), (3, 24, 32, 3))
        >>> attribution.deep_lift_shap(model, images, 3, baselines=others).values.shape
        (2, 24, 32, 3)
    """
    query = ask(model, images, target, layer=layer)
    given = check_baselines(baselines, query)
    many, k = query.count, given.shape[0]
    pairs = query.at(jnp.repeat(jnp.arange(many), k))
    pairs = pairs.replace(baseline=jnp.tile(given, (many,) + (1,) * (given.ndim - 1)))
    values, scores, start = (x.reshape(many, k, *x.shape[1:]).mean(1) for x in _all_rescaled(pairs, batch_size))
    delta = total(values) - (scores - start)
    return Attribution(
        values=values, scores=scores, delta=delta, baseline_scores=start, method="deep_lift_shap", layer=query.layer
    )


def _all_rescaled(query: Query, batch_size: int | None) -> tuple[jax.Array, jax.Array, jax.Array]:
    query = query.replace(model=query.model.with_gradient_rule(None))
    return in_batches(_rescaled, query, batch_size)


@jax.jit
def _rescaled(query: Query) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return attributions, scores, and scores of the baselines."""
    program = trace(lambda values, query: query.scores(values), (query.values, query), inside=True, derivatives=True)
    known = ways(
        program,
        _way,
        "DeepLift has no rule for {}: what it passes on depends on the values themselves. Use integrated_gradients.",
    )
    rest = jax.tree.leaves(query)
    start, before = program.walk([query.baseline, *rest], _plain)

    def scores(values: Any) -> jax.Array:
        def each(step: Step, read: Read) -> list[Any]:
            return _with_slopes(step, known[step], read, before) if step in known else _plain(step, read)

        return program.walk([values, *rest], each)[0]

    found, back = jax.vjp(scores, query.values)
    return back(jnp.ones_like(found))[0] * (query.values - query.baseline), found, start


def _plain(step: Step, read: Read) -> list[Any]:
    return evaluate(step, [read(value) for value in step.operands])


def _way(step: Step) -> Way:
    """Return how a step that depends on the image passes its share on."""
    name, operands = step.name, step.operands
    varying = [i for i, value in enumerate(operands) if value.depends]
    if step.relu is not None:
        return Way("relu", (step.relu.source,))
    if name == "select_n" and (not operands[0].depends or tests_nan(operands[0])):
        return plain(step, "linear")
    if (name in LINEAR and all(operands[i].inexact for i in varying)) or set(varying) <= set(LINEAR_IN.get(name, ())):
        return plain(step, "linear")
    if name in BILINEAR and len(varying) == 1:
        return plain(step, "linear")
    if name in ("sort", "top_k"):
        return plain(step, "ranked" if varying == [0] else "")
    if name in POOLING and not name.startswith(("select", "approx")):
        return plain(step, "pool")
    if name in LOOKUPS:
        return plain(step, "winner" if place_of_extremum(step) else "")
    if (function := pointwise(step)) is not None:
        return function
    if name in BILINEAR:
        return plain(step, "product")
    return plain(
        step, (chosen_extremum(operands) or "") if name == "select_n" else name if name in ("max", "min", "div") else ""
    )


def _with_slopes(step: Step, way: Way, read: Read, before: Read) -> list[Any]:
    """Return the results of a step, whose gradients are slopes from baseline to image."""
    kind, now = way.kind, [read(value) for value in step.operands]
    then = [before(value) for value in step.operands]

    def run(x: Any, others: Any = now) -> Any:
        return evaluate(step, [x, *others[1:]])[0]

    if kind == "linear":  # undoes stop_gradient, which may not stop a difference
        return now if step.name == "stop_gradient" else evaluate(step, now)
    if kind in ("relu", "pointwise"):
        y, y0 = evaluate(step, now)[0], evaluate(step, then)[0]
        (source,) = way.sources
        function = _RELUS[step.relu.kind] if step.relu else way.function(read)
        return [_slopes.line(read(source), before(source), jax.lax.stop_gradient(y), y0, function)]
    if kind == "product":
        return [_slopes.product(lambda a, b: evaluate(step, [a, b])[0], now, then)]
    if kind == "pool":
        return [_slopes.pool(run, run, now[0], then[0], "max" in step.name)]
    if kind == "winner":
        return [_slopes.pool(run, lambda x: run(x, then), now[0], then[0], place_of_extremum(step) == "argmax")]
    if kind == "ranked":
        axis = step.equation.params["dimension"] if step.name == "sort" else step.equation.params.get("axis", now[0].ndim - 1)
        return [_slopes.ranked(run, now[0], then[0], axis, step.name == "top_k"), *evaluate(step, now)[1:]]
    if kind == "div":
        inverse = _slopes.line(now[1], then[1], jax.lax.stop_gradient(1 / now[1]), 1 / then[1], lambda x: 1 / x)
        return [_slopes.times(now[0], inverse, then[0], 1 / then[1])]
    (a, b), (a0, b0) = now[-2:], then[-2:]  # a `select_n` has a condition before the two
    return [_slopes.extremum(a, b, a0, b0, kind == "max")]


_RELUS = {"relu": jax.nn.relu, "relu6": jax.nn.relu6}
