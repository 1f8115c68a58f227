"""Attribution by one gradient: saliency, input x gradient, guided backpropagation, deconvnet."""

from collections.abc import Iterable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxlens._checks import check_choice
from jaxlens._types import Images
from jaxlens.attribution._batches import in_batches
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import TargetLike
from jaxlens.model import Model, rules

Sign = Literal["absolute", "all", "positive", "negative"]
SIGNS: dict[str, Any] = {
    "absolute": jnp.abs,
    "all": lambda g: g,
    "positive": lambda g: jnp.maximum(g, 0),
    "negative": lambda g: jnp.maximum(-g, 0),
}


@method(values="sizes")
def saliency(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    sign: Sign = "absolute",
    batch_size: int | None = None,
) -> Attribution:
    """Return `|d score / d x|`: how fast the score changes with each value.

    Simonyan et al. 2014, arXiv:1312.6034.

    Args:
        model, images, target, layer, batch_size: see `jaxlens.attribution`.
        sign: "absolute" as in the paper and in captum. "all" is the signed gradient g, "positive"
            is `max(g, 0)` and "negative" is `max(-g, 0)`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.saliency(model, images).values.shape
        (2, 24, 32, 3)
        >>> attribution.saliency(model, images, 3, layer="conv2", sign="all").values.shape
        (2, 12, 16, 64)
    """
    check_choice(sign, "sign", SIGNS)
    query = ask(model, images, target, layer=layer)
    scores, gradient = gradients(query, batch_size)
    return Attribution(values=SIGNS[sign](gradient), scores=scores, method="saliency", layer=query.layer)


@method()
def input_x_gradient(
    model: Model, images: Images, target: TargetLike = None, *, layer: str | None = None, batch_size: int | None = None
) -> Attribution:
    """Return `x * d score / d x`: the score's first-order share of each value.

    At a layer it is activation x gradient. Values add up to the score for networks that are
    piecewise linear without biases; `delta` is `sum - score`, what they lack. Here x is the image
    in [0, 1], so black counts as nothing; captum's x is a normalized input, where the mean color
    counts as nothing.

    Args:
        model, images, target, layer, batch_size: see `jaxlens.attribution`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.input_x_gradient(model, images, 3)
        >>> found.values.shape, found.delta.shape
        ((2, 24, 32, 3), (2,))
    """
    query = ask(model, images, target, layer=layer)
    scores, gradient = gradients(query, batch_size)
    values = query.values * gradient
    delta = total(values) - scores
    return Attribution(values=values, scores=scores, delta=delta, method="input_x_gradient", layer=query.layer)


@method(values="sizes")
def guided_backprop(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    allow: Iterable[str] = (),
    batch_size: int | None = None,
) -> Attribution:
    """Return the gradient through ReLUs that pass only positive gradients of active units.

    Springenberg et al. 2015, arXiv:1412.6806. Signed, as in captum. It shows the image's edges more
    than the class: see `metrics.model_randomization`.

    Args:
        model, images, target, layer, batch_size: see `jaxlens.attribution`.
        allow: names of nonlinearities that may keep their own gradient; see `model.rules.guided`.

    Differs from captum as `model.rules.guided` says: functional ReLUs count, and a nonlinearity
    that the rule does not know is an error.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.guided_backprop(model, images, 3).values.shape
        (2, 24, 32, 3)
    """
    return _ruled("guided_backprop", rules.guided(allow=allow), model, images, target, layer, batch_size)


@method(values="sizes")
def deconvnet(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    allow: Iterable[str] = (),
    batch_size: int | None = None,
) -> Attribution:
    """Return the gradient through ReLUs that pass its positive part whatever went in.

    Zeiler and Fergus 2014, arXiv:1311.2901.

    Args:
        model, images, target, layer, allow, batch_size: see `guided_backprop`, with
            `model.rules.deconvnet` as the rule.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.deconvnet(model, images, 3).values.shape
        (2, 24, 32, 3)
    """
    return _ruled("deconvnet", rules.deconvnet(allow=allow), model, images, target, layer, batch_size)


def _ruled(
    method: str, rule: rules.GradientRule, model: Model, images: Images, target: Any, layer: str | None, batch_size: int | None
) -> Attribution:
    query = ask(model, images, target, layer=layer)
    query = query.replace(model=model.with_gradient_rule(rule))
    scores, gradient = gradients(query, batch_size)
    return Attribution(values=gradient, scores=scores, method=method, layer=query.layer)


def gradients(query: Query, batch_size: int | None) -> tuple[jax.Array, jax.Array]:
    """Return scores and gradients of the query's own images, `batch_size` images at a time."""
    return in_batches(_look, query, batch_size)


@jax.jit
def _look(query: Query) -> tuple[jax.Array, jax.Array]:
    return query.values_and_gradients(query.images)[1:]


def total(values: jax.Array) -> jax.Array:
    """Return the sum of each image's values, with a tree's rounding error and not a loop's."""
    return values.reshape(values.shape[0], -1).sum(-1)
