"""Layer-wise relevance propagation for networks of weighted sums, pools and pointwise functions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import check_choice, check_scalar, shortened, suggest
from jaxlens._program import LINEAR, LINEAR_IN, LOOKUPS, POOLING, Program, Step, Value, evaluate, tests_nan, trace
from jaxlens._pytree import field, pytree
from jaxlens._types import Images
from jaxlens.attribution._batches import in_batches
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import TargetLike
from jaxlens.attribution.gradient._saliency import total
from jaxlens.attribution.propagation._steps import Read, Way, plain, pointwise, relu_of, ways, with_slope
from jaxlens.model import Model

WEIGHTED = ("conv_general_dilated", "dot_general")
# What may lie between a weighted sum and its bias.
_RESHAPING = frozenset(("reshape", "squeeze", "expand_dims", "convert_element_type"))


@pytree
class Settings:
    """Which rule each weighted sum follows, and the numbers in the rules."""

    epsilon: Float[Array, ""]
    gamma: Float[Array, ""]
    alpha: Float[Array, ""]
    rule: str = field(static=True)
    by_layer: tuple[tuple[str, str], ...] = field(static=True)

    def of(self, step: Step) -> str:
        """Return the rule of a step: that of the innermost named layer, else the one for all."""
        around = step.where.split("/")
        named = [(around.index(layer), rule) for layer, rule in self.by_layer if layer in around]
        return max(named)[1] if named else self.rule


@dataclasses.dataclass(frozen=True)
class WeightedSum:
    """A weighted sum `z + b`, `z_j = sum_i a_i w_ij`, whose relevance a rule hands on.

    Attributes:
        run: z as a function of a and w.
        a: values, one of each input.
        w: weights.
        z: the sum without its bias.
        b: the bias, in the shape of z.
        relevance: what the sum has received, in the shape of z.
    """

    run: Callable[[Any, Any], Any]
    a: Any
    w: Any
    z: Any
    b: Any
    relevance: Any

    def share(self, w: Any, per_sum: Any) -> Any:
        """Return `sum_j w_ij per_sum_j` of each value i."""
        return jax.vjp(lambda a: self.run(a, w), self.a)[1](per_sum)[0]


def _epsilon(s: WeightedSum, settings: Settings) -> Any:
    return s.share(s.w, s.relevance / _stable(s.z + s.b, settings.epsilon))


def _gamma(s: WeightedSum, settings: Settings) -> Any:
    more = s.w + settings.gamma.astype(s.w.dtype) * jnp.maximum(s.w, 0)
    return s.share(more, s.relevance / _stable(s.run(s.a, more) + s.b, settings.epsilon))


def _alpha_beta(s: WeightedSum, settings: Settings) -> Any:
    up, down = jnp.maximum(s.w, 0), jnp.minimum(s.w, 0)
    plus, minus = jnp.maximum(s.a, 0), jnp.minimum(s.a, 0)
    positive = s.run(plus, up) + s.run(minus, down) + jnp.maximum(s.b, 0)
    negative = s.run(plus, down) + s.run(minus, up) + jnp.minimum(s.b, 0)
    alpha = settings.alpha.astype(s.z.dtype)
    for_ = jnp.where(positive > 0, alpha * s.relevance / _stable(positive, settings.epsilon), 0)
    against = jnp.where(negative < 0, (1 - alpha) * s.relevance / _stable(negative, settings.epsilon), 0)
    active = s.share(up, for_) + s.share(down, against)
    passive = s.share(down, for_) + s.share(up, against)
    return jnp.where(s.a >= 0, active, passive)


def _stable(z: Any, epsilon: Any) -> Any:
    """Return z, moved away from 0 by epsilon."""
    floor = jnp.maximum(epsilon.astype(z.dtype), jnp.finfo(z.dtype).tiny)
    return z + jnp.where(z >= 0, floor, -floor)


RULES: dict[str, Callable[[WeightedSum, Settings], Any]] = {
    "epsilon": _epsilon,
    "gamma": _gamma,
    "alpha_beta": _alpha_beta,
}
"""What each rule hands to the values of a weighted sum, as relevance per unit: `R_i / a_i`."""


@method()
def lrp(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    rule: str = "epsilon",
    rules: Mapping[str, str] | None = None,
    epsilon: float = 1e-9,
    gamma: float = 0.25,
    alpha: float = 1.0,
    batch_size: int | None = None,
) -> Attribution:
    """Hand the score back from layer to layer in shares: layer-wise relevance propagation.

    Bach et al. 2015, doi:10.1371/journal.pone.0130140; Montavon et al. 2019, "Layer-Wise Relevance
    Propagation: An Overview". A weighted sum `z_j = sum_i a_i w_ij + b_j` has relevance `R_j`; the
    rule says which share of it each value `a_i` gets:

    - "epsilon": `a_i w_ij / (z_j + epsilon sign z_j)`. With a small epsilon, and ReLUs, this is
      input x gradient.
    - "gamma": the same with `w + gamma max(w, 0)` for w, which favors what speaks for the target.
      Made for inputs that are not negative.
    - "alpha_beta": `alpha (a_i w_ij)+ / z_j+ - beta (a_i w_ij)- / z_j-` with `beta = alpha - 1`.
      Where a sum has no part of one sign, that part hands on nothing.

    Biases keep their share, so values add up to the score only in networks without biases; `delta`
    is `sum - score`. Max-pools, and other functions that pick one of several values, give all to
    the winner. Other functions of one value, also those written in several steps (ELU, SiLU), hand
    on what they got (captum's IdentityRule). Sums and means hand on by share.

    Args:
        model, images, target, layer, batch_size: see `jaxlens.attribution`.
        rule: of all weighted sums: convolutions, linear layers, and sums over positions.
        rules: of the sums inside some layers, `{"features.0": "epsilon", "layer1": "gamma"}`;
            where several names fit, the innermost counts.
        epsilon, gamma, alpha: the numbers in the rules; captum's defaults.

    Raises:
        UnsupportedError: for networks with products of two values that depend on the image
            (attention, squeeze-and-excitation, layer norms), for which there is no one rule. See
            `deep_lift` and the methods for transformers.

    Differs from captum: works on modules that are used twice and on functional ReLUs, where captum
    raises or is silently wrong. "alpha_beta" works on inputs that may be negative too.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.lrp(model, images, 3, rule="gamma", rules={"conv1": "alpha_beta"})
        >>> found.values.shape
        (2, 24, 32, 3)
    """
    check_choice(rule, "rule", RULES)
    alpha = check_scalar(alpha, "alpha", low=1)
    gamma, epsilon = (check_scalar(each, name, low=0, high=1e6) for each, name in ((gamma, "gamma"), (epsilon, "epsilon")))
    by_layer = []
    if rules is not None and not isinstance(rules, Mapping):
        raise TypeError(f"rules={shortened(rules)} must be rules by layer, such as {{'features.0': 'epsilon'}}.")
    for name, chosen in (rules or {}).items():
        check_choice(chosen, f"rules[{name!r}]", RULES)
        by_layer.append((_inside(model, name), chosen))
    settings = Settings(
        epsilon=jnp.float32(epsilon),
        gamma=jnp.float32(gamma),
        alpha=jnp.float32(alpha),
        rule=rule,
        by_layer=tuple(by_layer),
    )
    query = ask(model, images, target, layer=layer)
    query = query.replace(model=model.with_gradient_rule(None))
    values, scores = in_batches(_propagated, query, batch_size, settings)
    return Attribution(values=values, scores=scores, delta=total(values) - scores, method="lrp", layer=query.layer)


def _inside(model: Model, name: str) -> str:
    """Return a layer's name, or the path of several layers, such as "layer1"."""
    if any(known == name or known.startswith(f"{name}.") for known in model.layers):
        return name
    raise ValueError(f"rules names {name!r}, which is not a layer of {model.name}. Closest: {suggest(name, model.layers)}.")


@jax.jit
def _propagated(query: Query, settings: Settings) -> tuple[jax.Array, jax.Array]:
    """Return relevances and scores.

    What travels back is `c = R / a`, relevance per unit of activation. Through everything linear,
    and through ReLUs and max-pools, it travels as a gradient does. Only weighted sums, by their
    rule, and other nonlinearities change it.
    """
    program = trace(lambda values, query: query.scores(values), (query.values, query), inside=True, derivatives=True)
    known = ways(
        program,
        _way,
        "LRP has no rule for {}: a product of values that depend on the image. Use deep_lift or "
        "integrated_gradients, or transformer_attribution for attention.",
    )
    biases = _biases(program)
    rest = jax.tree.leaves(query)
    # First what does not depend on the image: a rule needs the bias that is added after its sum.
    varying = {step for step in program.steps if any(value.depends for value in step.operands)}
    program.steps.sort(key=lambda step: step in varying)

    def scores(values: Any) -> jax.Array:
        def each(step: Step, read: Read) -> list[Any]:
            now = [read(value) for value in step.operands]
            way = known.get(step)
            if way is None or way.kind == "plain":
                return evaluate(step, now)
            if way.kind == "weighted":
                bias = biases.get(step)
                return [_weighted(step, now, 0.0 if bias is None else bias[1] * read(bias[0]), settings)]
            y = jax.lax.stop_gradient(evaluate(step, now)[0])
            if way.kind == "relu":
                return [relu_of(step, read, y)]
            x = read(way.sources[0])
            return [with_slope(y, x, y.astype(x.dtype) / _stable(x, settings.epsilon))]

        return program.walk([values, *rest], each)[0]

    found, back = jax.vjp(scores, query.values)
    return query.values * back(jnp.ones_like(found))[0], found


def _way(step: Step) -> Way:
    name, operands = step.name, step.operands
    varying = [i for i, value in enumerate(operands) if value.depends]
    if step.relu is not None:
        return Way("relu", (step.relu.source,))
    if name in WEIGHTED and len(varying) == 1:
        return plain(step, "weighted")
    linear = (name in LINEAR and all(operands[i].inexact for i in varying)) or set(varying) <= set(LINEAR_IN.get(name, ()))
    chosen = (name in POOLING and not name.startswith("select")) or (name in LOOKUPS and operands[0].depends)
    if linear or chosen or (name == "mul" and len(varying) == 1):
        return plain(step, "plain")
    if name == "select_n" and (not operands[0].depends or tests_nan(operands[0])):
        return plain(step, "plain")
    if (function := pointwise(step)) is not None:
        return function
    return plain(step, "plain" if name in ("max", "min", "select_n") else "")


def _biases(program: Program) -> dict[Step, tuple[Value, int]]:
    """Return the bias, and its sign, that is added to a weighted sum before anything else."""
    readers: dict[tuple[Step, int], list[Step]] = {}
    for step in program.steps:
        for value in step.operands:
            if value.maker is not None:
                readers.setdefault((value.maker, value.index), []).append(step)
    found = {}
    for step in program.steps:
        if step.name not in WEIGHTED:
            continue
        at = step
        while len(after := readers.get((at, 0), [])) == 1 and after[0].name in _RESHAPING:
            at = after[0]
        if len(after) == 1 and after[0].name in ("add", "sub", "add_any"):
            constants = [(i, value) for i, value in enumerate(after[0].operands) if not value.depends]
            if constants and not (after[0].name == "sub" and constants[0][0] == 0):
                found[step] = (constants[0][1], -1 if after[0].name == "sub" else 1)
    return found


def _weighted(step: Step, now: list[Any], bias: Any, settings: Settings) -> Any:
    """Return a weighted sum, its bias not added yet, that hands relevance back by its rule."""
    at = 0 if step.operands[0].depends else 1
    weights, rule = now[1 - at], RULES[settings.of(step)]

    def run(a: Any, weights: Any) -> Any:
        return evaluate(step, [a, weights] if at == 0 else [weights, a])[0]

    @jax.custom_vjp
    def weighted(a: Any) -> Any:
        return run(a, weights)

    def backward(saved: tuple[Any, Any], c: Any) -> tuple[Any]:
        a, z = saved
        b = _like(bias, z)
        return (rule(WeightedSum(run=run, a=a, w=weights, z=z, b=b, relevance=c * (z + b)), settings),)

    weighted.defvjp(lambda a: (z := run(a, weights), (a, z)), backward)
    return weighted(now[at])


def _like(bias: Any, z: Any) -> Any:
    """Return a bias in the shape of a sum.

    It was added to the sum in another shape of as many numbers, or it broadcasts.
    """
    if jnp.ndim(bias) == 0:
        return jnp.full(z.shape, bias, z.dtype)
    bias = bias.astype(z.dtype)
    return bias.reshape(z.shape) if bias.size == z.size else jnp.broadcast_to(bias, z.shape)
