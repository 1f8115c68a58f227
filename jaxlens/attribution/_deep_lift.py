"""DeepLift's Rescale rule for any JAX function: slopes between the image and a baseline in place of gradients."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxlens._checks import Images
from jaxlens.attribution._fold import in_chunks
from jaxlens.attribution._gradient import total
from jaxlens.attribution._path import check_baselines
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._result import Attribution
from jaxlens.model import Model
from jaxlens.model._jaxpr import Program, Step, Value, evaluate, trace
from jaxlens.model._primitives import BILINEAR, LINEAR, LINEAR_IN, NONLINEAR, POOLING

# Below this share of the two values their difference is rounding, and the derivative takes the slope's place.
CLOSE = 1e-6


class UnsupportedError(ValueError):
    """A network with a function in it that a method has no rule for."""


def deep_lift(
    model: Model,
    images: Images,
    target: Any = None,
    *,
    layer: str | None = None,
    baseline: Any = None,
    chunk: int | None = None,
) -> Attribution:
    """DeepLift, Rescale rule: `m (x - x')`, where m is chained from slopes `(f(u) - f(u')) / (u - u')` of every nonlinearity.

    Shrikumar et al. 2017, arXiv:1704.02685. Adds up to `score(x) - score(x')`, up to rounding. One pass, where integrated
    gradients need fifty. Args: see `jaxlens.attribution`.

    Every function of the network counts, however it is written (captum: only modules of ten kinds, once each; it passes
    functional ReLUs by). A max-pool gives its rise to the value that won and its fall to the one that had won, and windows
    that overlap add up (captum: the last of them stays, and completeness is lost, as in SqueezeNet). A product of two values
    that both depend on the image, as in attention and normalisation, shares by the mean of the other one, `(b + b') / 2`:
    complete too, where captum falls back to gradients.

    Raises:
        UnsupportedError: for functions of the network that pick by the values (sorts, loops, `where` of conditions on values).
    """
    query = ask(model, images, target, layer=layer, baseline=baseline)
    values, scores, start = _all_rescaled(query, chunk)
    return Attribution(
        values=values,
        scores=scores,
        delta=total(values) - (scores - start),
        baseline_scores=start,
        method="deep_lift",
        layer=query.layer,
    )


def deep_lift_shap(
    model: Model,
    images: Images,
    target: Any = None,
    *,
    baselines: Any,
    layer: str | None = None,
    chunk: int | None = None,
) -> Attribution:
    """The mean of `deep_lift` over several baselines, near Shapley values (Lundberg and Lee 2017, arXiv:1705.07874).

    Adds up to `score(x)` minus the mean score of the baselines.

    Args:
        model, images, target, layer, chunk: see `jaxlens.attribution`.
        baselines: `[K, H, W, C]` images in [0, 1], or `[K, ...]` of the layer's shape.
    """
    query = ask(model, images, target, layer=layer)
    given = check_baselines(baselines, query)
    many, k = query.count, given.shape[0]
    pairs = query.at(jnp.repeat(jnp.arange(many), k))
    pairs = pairs.replace(baseline=jnp.tile(given, (many,) + (1,) * (given.ndim - 1)))
    values, scores, start = (x.reshape(many, k, *x.shape[1:]).mean(1) for x in _all_rescaled(pairs, chunk))
    delta = total(values) - (scores - start)
    return Attribution(
        values=values, scores=scores, delta=delta, baseline_scores=start, method="deep_lift_shap", layer=query.layer
    )


def _all_rescaled(query: Query, chunk: int | None) -> tuple[jax.Array, jax.Array, jax.Array]:
    query = query.replace(model=query.model.with_gradient_rule(None))
    return in_chunks(_rescaled, query, chunk)


@jax.jit
def _rescaled(query: Query) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Attributions, scores, and scores of the baselines."""
    program = trace(lambda values, query: query.scores(values), (query.values, query), inside=True)
    check_known(
        program,
        _kind,
        "DeepLift has no rule for {}: what it passes on depends on the values themselves. Use integrated_gradients.",
    )
    rest = jax.tree.leaves(query)
    start, before = program.walk([query.baseline, *rest], _plain)
    depends = {step for step in program.steps if any(value.depends for value in step.operands)}

    def scores(values: Any) -> jax.Array:
        def each(step: Step, read: Callable[[Value], Any]) -> list[Any]:
            return _with_slopes(step, read, before) if step in depends else _plain(step, read)

        return program.walk([values, *rest], each)[0]

    found, back = jax.vjp(scores, query.values)
    return back(jnp.ones_like(found))[0] * (query.values - query.baseline), found, start


def _plain(step: Step, read: Callable[[Value], Any]) -> list[Any]:
    return evaluate(step, [read(value) for value in step.operands])


def _kind(step: Step) -> str:
    """How a step that depends on the image passes its share on."""
    name, varying = step.name, [i for i, value in enumerate(step.operands) if value.depends]
    if not any(
        getattr(out.aval, "dtype", None) is not None and jnp.issubdtype(out.aval.dtype, jnp.inexact)
        for out in step.equation.outvars
    ):
        return "linear"  # integers and bools carry nothing on
    if step.relu is not None:
        return "relu"
    if (
        name in LINEAR
        or (name == "select_n" and varying[0] > 0)
        or (name in LINEAR_IN and set(varying) <= set(LINEAR_IN[name]))
    ):
        return "linear"
    if name in BILINEAR:
        return "linear" if len(varying) == 1 else "product"
    if name in POOLING and not name.startswith("select"):
        return "pool"
    if name in ("max", "min", "div") and len(varying) == 2:
        return name
    return "pointwise" if name in NONLINEAR and len(varying) == 1 else ""


def check_known(program: Program, kind: Callable[[Step], str], message: str) -> None:
    """Raises for steps that depend on the image and that `kind` has no name for; they take the place of {} in the message."""
    unknown: dict[str, str] = {}
    for step in program.steps:
        if any(value.depends for value in step.operands) and not kind(step):
            unknown.setdefault(step.name, step.where)
    if unknown:
        raise UnsupportedError(
            message.format(", ".join(f"{name}{f' in {where}' if where else ''}" for name, where in unknown.items()))
        )


def _with_slopes(step: Step, read: Callable[[Value], Any], before: Callable[[Value], Any]) -> list[Any]:
    """The results of a step, whose gradients are the slopes between the baseline and the image."""
    kind, now = _kind(step), [read(value) for value in step.operands]
    out = [read_only(x) for x in evaluate(step, now)] if kind in ("relu", "pointwise") else None
    then = [before(value) for value in step.operands]
    if kind == "linear":  # undoes stop_gradient, which may not stop a difference
        return now if step.name == "stop_gradient" else evaluate(step, now)
    if kind == "relu":
        source = step.relu.source  # type: ignore[union-attr]
        return [_line(read(source), before(source), out[0], _result(step, then), _slope_of_relu)]  # type: ignore[index]
    if kind == "pointwise":
        (at,) = [i for i, value in enumerate(step.operands) if value.depends]
        one = lambda x: evaluate(step, [*now[:at], x, *now[at + 1 :]])[0]  # noqa: E731
        return [_line(now[at], then[at], out[0], one(then[at]), one)]  # type: ignore[index]
    if kind == "product":
        return [_product(step, now, then)]
    if kind == "pool":
        return [_pool(lambda x: evaluate(step, [x, *now[1:]])[0], now[0], then[0])]
    if kind == "div":
        inverse = _line(now[1], then[1], 1 / now[1], 1 / then[1], lambda x: 1 / x)
        return [_times(now[0], inverse, then[0], 1 / then[1])]
    sign = 1 if kind == "max" else -1  # max(a, b) = b + relu(a - b), min(a, b) = b - relu(b - a)
    gap, gap_then = sign * (now[0] - now[1]), sign * (then[0] - then[1])
    return [now[1] + sign * _line(gap, gap_then, jnp.maximum(gap, 0), jnp.maximum(gap_then, 0), _slope_of_relu)]


def _result(step: Step, operands: list[Any]) -> Any:
    return evaluate(step, operands)[0]


def read_only(x: Any) -> Any:
    """Without a gradient: it comes by the slope."""
    return jax.lax.stop_gradient(x)


def _slope_of_relu(x: Any) -> Any:
    return jnp.maximum(x, 0)


def _line(x: Any, x0: Any, y: Any, y0: Any, fn: Callable[[Any], Any]) -> Any:
    """`y = fn(x)` whose derivative is the slope `(y - y0) / (x - x0)`, or its own where the two points are one."""
    dx = x - x0
    near = jnp.abs(dx) <= CLOSE * jnp.maximum(jnp.abs(x), jnp.abs(x0))
    own = jax.vjp(fn, x)[1](jnp.ones_like(y))[0]
    slope = read_only(jnp.where(near, own, (y - y0) / jnp.where(near, 1, dx)))
    return read_only(y) + slope * (x - read_only(x))


def _times(a: Any, b: Any, a0: Any, b0: Any) -> Any:
    mean_a, mean_b = read_only((a + a0) / 2), read_only((b + b0) / 2)
    return read_only(a * b) + mean_b * (a - read_only(a)) + mean_a * (b - read_only(b))


def _product(step: Step, now: list[Any], then: list[Any]) -> Any:
    """A bilinear step, each derivative at the mean of the other operand: `ab - a'b' = (b+b')/2 da + (a+a')/2 db`."""

    @jax.custom_vjp
    def product(a: Any, b: Any) -> Any:
        return evaluate(step, [a, b])[0]

    def forward(a: Any, b: Any) -> tuple[Any, Any]:
        return product(a, b), ((a + then[0]) / 2, (b + then[1]) / 2)

    product.defvjp(forward, lambda means, g: jax.vjp(lambda *ab: evaluate(step, list(ab))[0], *means)[1](g))
    return product(*now)


def _pool(fn: Callable[[Any], Any], x: Any, x0: Any) -> Any:
    """A pool that gives its rise to the value that won, and its fall to the one that had won at the baseline."""

    @jax.custom_vjp
    def pool(x: Any) -> Any:
        return fn(x)

    def forward(x: Any) -> tuple[Any, Any]:
        return fn(x), x

    def backward(x: Any, g: Any) -> tuple[Any]:
        y, back = jax.vjp(fn, x)
        y0, back0 = jax.vjp(fn, x0)
        top, dx = jnp.maximum(y, y0), x - x0
        share = back(g * (top - y0))[0] + back0(g * (y - top))[0]
        return (jnp.where(dx == 0, 0, share / jnp.where(dx == 0, 1, dx)),)

    pool.defvjp(forward, backward)
    return pool(x)
