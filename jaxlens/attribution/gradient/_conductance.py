"""Conductance: how much of the way from a baseline image passes through each neuron."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_choice, check_int
from jaxlens._numerics import over
from jaxlens._pytree import pytree
from jaxlens._types import Images
from jaxlens.attribution._batches import accumulate, check_samples
from jaxlens.attribution._entry import entry
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._query import INPUT, Query, ask
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import BaselineLike, NeuronLike, TargetLike
from jaxlens.attribution.gradient._path import start_image
from jaxlens.attribution.gradient._saliency import total
from jaxlens.model import Model, check_model
from jaxlens.model._run import run

PLACES = {"middle": 0.5, "left": 0.0, "right": 1.0}
Place = Literal["middle", "left", "right"]


@pytree
class _Path:
    """The straight line from baseline images to images, in steps."""

    start: Float[Array, "b h w c"]
    steps: Any
    place: Any  # of the gradient within a step
    neuron: Any = None  # a mask over the layer's values, or None


@entry
def conductance(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str,
    baseline: BaselineLike = None,
    steps: int = 50,
    at: Place = "middle",
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return `integral of d score / d h * d h` at a layer, on the way from the baseline image.

    Dhamdhere et al. 2018, arXiv:1805.12233, as `sum over k of d score / d h * (h(k+1) - h(k))`
    (Shrikumar et al. 2018, arXiv:1807.09946): integrated gradients, split over the neurons of the
    layer. The image moves from the baseline image in a straight line. Values add up to
    `score(x) - score(x')` for layers that everything passes through.

    Args:
        model, images, target, batch_size: see `jaxlens.attribution`.
        layer: the layer whose neurons share the difference in score.
        baseline: one image for all: a number or `[H, W, C]`; black by default.
        steps: of the path. Each takes one gradient, and the layer's values at both its ends.
        at: where in each step the gradient is taken: the "middle" (errors fall with the square of
            steps), or the "left" or "right" end. captum's LayerConductance is "left", between
            points that by default do not reach the ends of the path.
        progress: show a bar when it takes longer than two seconds.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.conductance(model, images, 3, layer="pool2", steps=4).values.shape
        (2, 6, 8, 64)
    """
    query, path = _path(model, images, target, layer, baseline, steps, at)
    state = jnp.zeros_like(query.values)
    values = accumulate(_conduct, query, path, state, steps, batch_size=batch_size, progress=progress, label="conductance")
    return _finish("conductance", query, path.start, values, query.layer, batch_size)


@entry
def neuron_conductance(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str,
    neuron: NeuronLike,
    baseline: BaselineLike = None,
    steps: int = 50,
    at: Place = "middle",
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return the part of integrated gradients that passes through one neuron.

    `integral of d score / d h_j * d h_j / d x_i * dx_i` (Dhamdhere et al. 2018, arXiv:1805.12233).
    Its sum over the neurons of a layer that everything passes through is `integrated_gradients`;
    its sum over the image is that neuron's `conductance`.

    Args:
        model, images, target, layer, baseline, steps, at, batch_size, progress: see `conductance`.
        neuron: a channel (all its positions), or a position `(row, column, channel)` of a map.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.neuron_conductance(model, images, layer="pool2", neuron=7, steps=4)
        >>> found.values.shape
        (2, 24, 32, 3)
    """
    query, path = _path(model, images, target, layer, baseline, steps, at)
    path = dataclasses.replace(path, neuron=_mask(neuron, query))
    state = jnp.zeros_like(query.images)
    flow = accumulate(_through, query, path, state, steps, batch_size=batch_size, progress=progress, label="neuron conductance")
    values = flow * (query.images - path.start) / steps
    found = scores_of(query.replace(layer=INPUT), query.images, batch_size)
    return Attribution(values=values, scores=found, method="neuron_conductance", layer=INPUT)


def _path(model: Model, images: Any, target: Any, layer: str, baseline: Any, steps: int, at: str) -> tuple[Query, _Path]:
    check_choice(at, "at", PLACES)
    steps = check_samples(steps, "steps")
    query = ask(model, images, target, layer=check_model(model).resolve(layer))
    start = start_image(model, query, baseline)
    return query, _Path(start=start, steps=jnp.float32(steps), place=jnp.float32(PLACES[at]))


def _points(path: _Path, query: Query, sample: jax.Array, offset: Any) -> jax.Array:
    start = jnp.broadcast_to(path.start, query.images.shape)
    return start + over((sample.astype(jnp.float32) + offset) / path.steps, query.images) * (query.images - start)


def _conduct(query: Query, path: _Path, image: jax.Array, sample: jax.Array, alive: jax.Array, state: jax.Array) -> jax.Array:
    gradient = query.values_and_gradients(_points(path, query, sample, path.place))[2]
    ends = (_at_layer(query, _points(path, query, sample, offset)) for offset in (0, 1))
    left, right = ends
    return state.at[image].add(jnp.where(over(alive, gradient), gradient * (right - left), 0))


def _through(query: Query, path: _Path, image: jax.Array, sample: jax.Array, alive: jax.Array, state: jax.Array) -> jax.Array:
    images = _points(path, query, sample, path.place)
    gradient = query.values_and_gradients(images)[2] * path.neuron
    found = jax.vjp(lambda images: _at_layer(query, images), images)[1](gradient)[0]
    return state.at[image].add(jnp.where(over(alive, found), found, 0))


def _at_layer(query: Query, images: jax.Array) -> jax.Array:
    return run(query.model, images, (query.layer,))[query.layer] if query.layer != INPUT else images


def _mask(neuron: Any, query: Query) -> jax.Array:
    """Return `[1, ...]` with 1 at the neuron and 0 elsewhere."""
    shape = query.values.shape[1:]
    place = tuple(neuron) if isinstance(neuron, tuple | list | np.ndarray) and np.size(neuron) else (neuron,)
    if len(place) not in (1, len(shape)):
        raise ValueError(
            f"neuron={neuron!r} must be a channel, or {len(shape)} numbers for layer {query.layer!r} of shape {shape}."
        )
    counts = shape[-len(place) :]
    place = tuple(check_int(n, "neuron", low=0, high=count - 1) for n, count in zip(place, counts, strict=True))
    return jnp.zeros((1, *shape), query.values.dtype).at[(..., *place)].set(1)


def _finish(method: str, query: Query, start: jax.Array, values: jax.Array, layer: str, batch_size: int | None) -> Attribution:
    at_input = query.replace(layer=INPUT)
    scores = scores_of(at_input, query.images, batch_size)
    begin = scores_of(at_input, jnp.broadcast_to(start, query.images.shape), batch_size)
    delta = total(values) - (scores - begin)
    return Attribution(values=values, scores=scores, delta=delta, baseline_scores=begin, method=method, layer=layer)
