"""Attribution to channels, positions and groups of a layer, and from one layer to another.

After "The Building Blocks of Interpretability" (Olah et al. 2018, doi:10.23915/distill.00010).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlens._checks import check_images, check_int, check_reals, check_text
from jaxlens._pytree import field, pytree
from jaxlens._types import Images
from jaxlens.attribution._batches import accumulate
from jaxlens.attribution._entry import entry
from jaxlens.attribution._layers import scores_of
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import FloatsLike, TargetLike
from jaxlens.attribution.gradient._path import StraightLine
from jaxlens.attribution.gradient._quadrature import nodes
from jaxlens.attribution.gradient._saliency import gradients, total
from jaxlens.attribution.gradient._sums import gradient_sums
from jaxlens.model import Model
from jaxlens.optvis.objectives import Objective


@entry
def spatial_attribution(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str,
    steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return what each position of a layer does for the target, `[B, h, w, 1]`.

    `sum over channels of A * d score / d A` for the layer's activations A. A gradient rule of the
    model is honored: `model.with_gradient_rule(rules.standard(pools="l2"))` is the article's
    smoother one.

    Args:
        model, images, target, batch_size: see `jaxlens.attribution`. "Why this class and not that
            one" is a target too:
            `class_logit("logits", "tabby") - class_logit("logits", "beagle")`.
        layer: a map.
        steps: None takes one gradient, as the article does. A number averages that many along the
            way from activations of zero to those of the image, so that values add up to
            `score - score at zero activations` (`delta`); the article's notebook: 100.
        progress: show a bar when it takes longer than two seconds.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.spatial_attribution(model, images, 3, layer="pool2").values.shape
        (2, 6, 8, 1)
    """
    query = _ask_map(model, images, target, layer, "spatial_attribution")
    products = _products(query, steps, batch_size, progress)
    return _finish("spatial_attribution", query, products, products.sum(-1, keepdims=True), steps, batch_size)


@entry
def channel_attribution(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str,
    steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return what each channel of a layer does for the target, `[B, C]`.

    `sum over positions of A * d score / d A` for the layer's activations A.

    Args:
        model, images, target, steps, batch_size, progress: see `spatial_attribution`.
        layer: any layer with channels.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.channel_attribution(model, images, 3, layer="pool2")
        >>> found.values.shape, jax.lax.top_k(found.values, 5)[1].shape
        ((2, 64), (2, 5))
    """
    query = ask(model, images, target, layer=layer, baseline=jnp.zeros(_shape(model, images, layer)))
    products = _products(query, steps, batch_size, progress)
    values = products.reshape(query.count, -1, products.shape[-1]).sum(1)
    return _finish("channel_attribution", query, products, values, steps, batch_size)


@entry
def group_attribution(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    layer: str,
    spatial: FloatsLike,
    channels: FloatsLike,
    steps: int | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> Attribution:
    """Return what groups of neurons do for the target, `[B, G]`.

    `sum (spatial_g x channels_g) * d score / d A`. A factorization of a layer's activations,
    `A ~ sum over g of spatial[..., g] x channels[g]` (non-negative, usually), makes G groups of
    neurons of its C channels. `delta` is the sum of the values minus that of `A * d score / d A`:
    what the factorization leaves out.

    Args:
        model, images, target, layer, steps, batch_size, progress: see `spatial_attribution`.
        spatial: `[B, h, w, G]`, how much of each group is at each position.
        channels: `[G, C]`, how much of each channel is in each group.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> spatial = jax.random.uniform(jax.random.key(1), (2, 6, 8, 3))  # of 3 groups
        >>> parts = {"spatial": spatial, "channels": jax.random.uniform(jax.random.key(2), (3, 64))}
        >>> attribution.group_attribution(model, images, 3, layer="pool2", **parts).values.shape
        (2, 3)
    """
    query = _ask_map(model, images, target, layer, "group_attribution")
    s, c = check_reals(spatial, "spatial"), check_reals(channels, "channels")
    count, groups = query.values.shape[:-1], c.shape[0] if c.ndim == 2 else "G"
    if s.shape != (*count, groups) or c.shape != (groups, query.values.shape[-1]):
        raise ValueError(
            f"spatial {s.shape} and channels {c.shape} must be {(*count, 'G')} and "
            f"{('G', query.values.shape[-1])} for layer {query.layer!r}."
        )
    gradient = _gradient(query, steps, batch_size, progress)
    values = jnp.einsum("bhwg,gc,bhwc->bg", s, c, gradient, precision=jax.lax.Precision.HIGHEST)
    scores = scores_of(query, query.values, batch_size)
    delta = values.sum(-1) - total(query.values * gradient)
    return Attribution(values=values, scores=scores, delta=delta, method="group_attribution", layer=query.layer)


@pytree
class PositionNorm(Objective):
    """The length of a layer's vector at one position, counted row by row."""

    index: Int[Array, ""] = field(rank=0)
    layer: str = field(role="layer")

    def __call__(self, activations: Any) -> Float[Array, ""]:
        flat = activations[self.layer].reshape(-1, activations[self.layer].shape[-1])
        square = jnp.square(jnp.take(flat, self.index, axis=0)).sum()
        return jnp.sqrt(jnp.maximum(square, 1e-12))  # where nothing is active: gradient 0, not NaN

    def describe(self, task: int = 0) -> str:
        return f"|{self.layer}|"


@pytree
class ChannelSum(Objective):
    """A channel's sum over positions."""

    index: Int[Array, ""] = field(rank=0)
    layer: str = field(role="layer")

    def __call__(self, activations: Any) -> Float[Array, ""]:
        return jnp.take(activations[self.layer], self.index, axis=-1).sum()

    def describe(self, task: int = 0) -> str:
        return f"sum {self.layer}"


@entry
def spatial_to_spatial(
    model: Model, images: Images, *, layer: str, to: str, batch_size: int | None = None, progress: bool = True
) -> Float[Array, "b h2 w2 h w"]:
    """Return what each position of `layer` does for each position of `to`, `[B, h2, w2, h, w]`.

    `sum over channels of A * d |A2[i, j]| / d A` with the Euclidean norm of the later layer's
    vector there, as in the article's connected saliency maps. It takes one gradient for each
    position of `to`.

    Args:
        model, images: see `jaxlens.attribution`.
        layer, to: maps; `to` comes after `layer`.
        batch_size: gradients at a time.
        progress: show a bar when it takes longer than two seconds.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.spatial_to_spatial(model, images, layer="pool2", to="pool3").shape
        (2, 3, 4, 6, 8)
    """
    query, shape = _ask_between(model, images, layer, to, PositionNorm)
    if len(shape) != 3 or query.values.ndim != 4:
        raise ValueError(f"layer={layer!r} and to={to!r} must be maps; they are {query.values.shape[1:]} and {shape}.")
    found = _between(query, shape[0] * shape[1], batch_size, progress)
    return found.reshape(query.count, *shape[:2], *query.values.shape[1:3])


@entry
def channel_to_channel(
    model: Model, images: Images, *, layer: str, to: str, batch_size: int | None = None, progress: bool = True
) -> Float[Array, "b c2 c"]:
    """Return what each channel of `layer` does for each channel of the later `to`, `[B, C2, C]`.

    `sum over positions of A * d (sum over positions of A2[c2]) / d A`. It takes one gradient for
    each channel of `to`.

    Args:
        model, images: see `jaxlens.attribution`.
        layer, to: layers with channels; `to` comes after `layer`.
        batch_size: gradients at a time.
        progress: show a bar when it takes longer than two seconds.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.channel_to_channel(model, images[:1], layer="pool1", to="conv2")
        >>> found.shape
        (1, 64, 32)
    """
    query, shape = _ask_between(model, images, layer, to, ChannelSum)
    return _between(query, shape[-1], batch_size, progress)


def _ask_between(model: Model, images: Any, layer: str, to: str, kind: Any) -> tuple[Query, tuple[int, ...]]:
    name = model.resolve(check_text(to, "to"))
    query = ask(model, images, kind(index=jnp.asarray(0), layer=name), layer=layer)
    return query, _shape(model, query.images, name)


def _between(query: Query, outputs: int, batch_size: int | None, progress: bool) -> jax.Array:
    """Return what each channel, or each position, does for each one of the target's layer."""
    inner = query.values.shape[-1] if isinstance(query.target, ChannelSum) else query.values[0, ..., 0].size
    state = jnp.zeros((query.count, outputs, inner), query.values.dtype)
    return accumulate(_attribute, query, None, state, outputs, batch_size=batch_size, progress=progress, label="between layers")


def _attribute(query: Query, work: None, image: jax.Array, output: jax.Array, alive: jax.Array, state: jax.Array) -> jax.Array:
    target = type(query.target)(index=output, layer=query.target.layer)
    values, _, gradient = query.replace(target=target).values_and_gradients(query.images)
    products = (values * gradient).reshape(image.shape[0], -1, values.shape[-1])
    return state.at[image, output].set(products.sum(1 if isinstance(target, ChannelSum) else 2))


def _shape(model: Model, images: Any, layer: str) -> tuple[int, ...]:
    name = model.resolve(layer)
    height, width = check_images(images, channels=model.channels).shape[1:3]
    return model.shapes((height, width), [name])[name]


def _ask_map(model: Model, images: Any, target: Any, layer: str, method: str) -> Query:
    shape = _shape(model, images, layer)
    if len(shape) != 3:
        raise ValueError(f"layer={layer!r} of {model.name} is no map but of shape {shape}: {method} needs [H, W, C].")
    return ask(model, images, target, layer=layer, baseline=jnp.zeros(shape))


def _gradient(query: Query, steps: int | None, batch_size: int | None, progress: bool) -> jax.Array:
    """Return one gradient at the layer, or its mean on the way from the baseline."""
    if steps is None:
        return gradients(query, batch_size)[1]
    steps = check_int(steps, "steps", low=1)
    points, weights = map(jnp.asarray, nodes("gausslegendre", steps))
    line = StraightLine(points=points, weights=weights)
    return gradient_sums(query, line, steps, batch_size=batch_size, progress=progress, label="path").first


def _products(query: Query, steps: int | None, batch_size: int | None, progress: bool) -> jax.Array:
    return query.values * _gradient(query, steps, batch_size, progress)


def _finish(
    method: str, query: Query, products: jax.Array, values: jax.Array, steps: int | None, batch_size: int | None
) -> Attribution:
    scores = scores_of(query, query.values, batch_size)
    if steps is None:
        return Attribution(values=values, scores=scores, method=method, layer=query.layer)
    start = scores_of(query, query.baseline, batch_size)
    delta = total(products) - (scores - start)
    return Attribution(values=values, scores=scores, delta=delta, baseline_scores=start, method=method, layer=query.layer)
