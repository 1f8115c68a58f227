"""Inputs of metrics: a score as a function of the pixels, and an attribution as a map of them."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import as_size, check_choice, check_images, is_known, shortened
from jaxlens._pytree import pytree
from jaxlens._types import Images
from jaxlens.attribution._maps import check_channels_last, check_maps, resize
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._targets import OUTPUT, as_target
from jaxlens.model import Model, activations, check_model
from jaxlens.optvis.objectives import Objective, class_probability

MAX_VALUE = 1e15  # metrics sum squares of values


@pytree
class Curve:
    """A score while pixels are removed or inserted, and the area under it.

    Attributes:
        area: `[B]`, the mean height of the curve.
        scores: `[B, S]`, the score at each point.
        fractions: `[S]`, the share of pixels removed or inserted.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> chance = jax.random.normal(jax.random.key(1), (2, 24, 32, 1))  # a map to compare with
        >>> curve = attribution.metrics.insertion(model, images, chance, steps=4)
        >>> curve.fractions.tolist(), curve.scores.shape
        ([0.0, 0.25, 0.5, 0.75, 1.0], (2, 5))
    """

    area: Float[Array, " b"]
    scores: Float[Array, "b s"]
    fractions: Float[Array, " s"]

    @property
    def per_image(self) -> jax.Array:
        """The scores, whose first axis is that of images."""
        return self.scores


def metric_query(model: Model, images: Images, target: Any, score: str = "probability", baseline: Any = None) -> Query:
    """Return the query of a metric: a class becomes its probability or its logit.

    Any other target stays as it is.
    """
    check_choice(score, "score", ("probability", "logit"))
    images = check_images(images, channels=check_model(model).channels)
    if score == "probability" and _names_class(target, model):
        logits = activations(model.with_gradient_rule(None), images, [OUTPUT])[OUTPUT] if target is None else None
        index = as_target(target, model, logits, len(images)).index  # type: ignore[attr-defined]
        target = class_probability(OUTPUT, index)
    return ask(model, images, target, baseline=baseline)


def _names_class(target: Any, model: Model) -> bool:
    if isinstance(target, str):
        return ":" not in target or target in (model.labels or ())
    if isinstance(target, list | tuple):
        return all(_names_class(each, model) for each in target)
    return not (isinstance(target, Objective) or callable(target))


def check_values(values: Any, count: int | None = None, name: str = "values") -> jax.Array:
    """Return the array of an attribution, `[B, ...]`, without NaN."""
    array = values.values if isinstance(values, Attribution) else values
    if isinstance(array, jax.Array | np.ndarray) and (array.ndim < 2 or (count is not None and array.shape[0] != count)):
        raise ValueError(f"{name} has shape {tuple(array.shape)}, but one map per image is needed: [{count or 'B'}, h, w, C].")
    array = check_maps(array, "[B, h, w, C], or an Attribution", name=name)
    if is_known(array) and float(jnp.abs(array).max()) > MAX_VALUE:
        raise ValueError(f"{name} has numbers above {MAX_VALUE:g}, whose squares are infinite: divide them by the largest.")
    return array


def pixel_map(values: Any, count: int | None = None, size: tuple[int, int] | None = None) -> Float[Array, "b h w"]:
    """Return one number per pixel: channels summed, then resized bilinearly to `size`."""
    array = check_values(values, count)
    if array.ndim != 4:
        raise ValueError(
            f"values has shape {tuple(array.shape)}, but maps [B, h, w, C] are needed. Tokens become a map by leaving out what "
            "is no patch and reshaping the rest to the grid."
        )
    size = (array.shape[1], array.shape[2]) if size is None else as_size(size)
    if not isinstance(values, Attribution):
        check_channels_last(array, size)
    return _summed(array, size)


def attributed(method: Any, model: Any, images: Any, target: Any, options: Mapping[str, Any]) -> Any:
    """Return the values that a method attributes."""
    found = method(model, images, target, **options)
    if not isinstance(found, Attribution):
        raise TypeError(f"method={shortened(method)} gives {type(found).__name__}, where methods give an Attribution.")
    return found.values


@functools.partial(jax.jit, static_argnames="size")
def _summed(array: jax.Array, size: tuple[int, int]) -> jax.Array:
    maps = array.sum(-1, keepdims=True)
    return (maps if maps.shape[1:3] == size else resize(maps, size))[..., 0]


def map_of(values: Any, query: Query) -> Float[Array, "b h w"]:
    """Return the `pixel_map` for the images of a query."""
    return pixel_map(values, query.count, query.size)


@jax.jit
def ranks_of(maps: Float[Array, "b h w"]) -> jax.Array:
    """Return each pixel's place in the order of its image: 0 has the largest value.

    Of equal values the first is first.
    """
    flat = maps.reshape(maps.shape[0], -1)
    order = jnp.argsort(-flat, axis=1, stable=True)
    return jnp.argsort(order, axis=1).reshape(maps.shape)
