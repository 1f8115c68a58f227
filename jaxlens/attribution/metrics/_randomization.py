"""Sanity checks: an explanation must change when the network, or the class, does."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from tqdm import tqdm

from jaxlens import _params
from jaxlens._checks import as_key, check_choice, check_function
from jaxlens._pytree import field, pytree
from jaxlens._types import Images, Seed
from jaxlens.attribution._batches import PATIENCE
from jaxlens.attribution._entry import entry
from jaxlens.attribution._maps import normalize
from jaxlens.attribution._query import ask
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._targets import OUTPUT
from jaxlens.attribution._types import TargetLike
from jaxlens.attribution.metrics._inputs import attributed
from jaxlens.attribution.metrics._similarity import WINDOW, rank_correlation, structural_similarity
from jaxlens.model import Model
from jaxlens.model._controls import drawable, parameter_groups, redrawn

Method = Callable[..., Attribution]


@pytree
class Randomization:
    """How alike the maps of a network and of its randomized copies are.

    Attributes:
        similarity: `[S, B]`, after each of S randomizations.
        layers: what each randomization redrew; in cascades, together with all before.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> check = attribution.metrics.model_randomization
        >>> found = check(attribution.saliency, model, images, layers=["fc2"], similarity="ssim")
        >>> found.similarity.shape, found.layers
        ((1, 2), ('fc2',))
    """

    similarity: Float[Array, "s b"]
    layers: tuple[str, ...] = field(static=True)

    @property
    def per_image(self) -> jax.Array:
        """The similarities with the axis of images first."""
        return self.similarity.T


@entry
def model_randomization(
    method: Method,
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    order: str = "cascading",
    layers: Sequence[str] | None = None,
    similarity: str = "spearman",
    seed: Seed = 0,
    progress: bool = True,
    **options: Any,
) -> Randomization:
    """Compare maps while the network's parameters are drawn anew, layer by layer.

    Adebayo et al. 2018, arXiv:1810.03292. A map that stays as it was did not depend on what the
    network learned. Guided backpropagation is the known example.

    A parameter is redrawn from the normal distribution with its own mean and standard deviation,
    each tensor by itself, so that this works for any network. The paper draws from the distribution
    that training started from. A tensor of one value (biases of 0, scales of 1) stays, as it would
    there; one without negative values (variances) gets absolute values.

    Args:
        method: such as `attribution.saliency`.
        model, images: see `jaxlens.attribution`.
        target: as the method takes it; None is the top class of the network as it is.
        order: "cascading" randomizes from the output down and keeps what was randomized before.
            "independent" randomizes one layer at a time and leaves the others.
        layers: what to randomize, in this order: names in `model.layers` or whole blocks
            ("mixed4a", "features.10"). None takes every layer that has parameters, the last in
            order of execution first. Parameters that belong to no layer of `model.layers` come
            last, under their own names, in the reverse of their order in `model.params`.
        similarity: "spearman" is the rank correlation of absolute values, summed over channels
            where the attribution is a map. It is NaN, with a warning, where a map is constant: that
            has no order that could have changed. "ssim" is the structural similarity of the same
            maps scaled to [0, 1]; they need 11 x 11 positions.
        seed: an int or a JAX key; each tensor has its own draw, the same in every order.
        progress: show a bar when it takes longer than two seconds.
        **options: the method's own.

    Returns: a `Randomization`; low similarities are good.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.attribution import metrics
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = metrics.model_randomization(
        ...     attribution.saliency, model, images, layers=["fc2", "conv3"]
        ... )
        >>> found.similarity.shape, found.layers
        ((2, 2), ('fc2', 'conv3'))
    """
    check_choice(order, "order", ("cascading", "independent"))
    check_function(method, "method", "attribution.saliency")
    compare, key = _comparison(similarity), as_key(seed)
    query = ask(model, images, target, layer=options.get("layer"))
    clean = attributed(method, model, query.images, query.target, options)
    groups, tensors = parameter_groups(model, layers), drawable(model.params)
    drawn = redrawn({name: tensors[name] for names in groups.values() for name in names}, key)
    found: list[jax.Array] = []
    seen: set[str] = set()
    for names in tqdm(groups.values(), desc="layers", delay=PATIENCE, disable=not progress, dynamic_ncols=True, leave=False):
        seen = (seen if order == "cascading" else set()) | set(names)
        other = model.replace(params=_params.with_leaves(model.params, {name: drawn[name] for name in seen}))
        found.append(compare(clean, method(other, query.images, query.target, **options).values))
    return Randomization(similarity=jnp.stack(found), layers=tuple(groups))


@entry
def random_logit(
    method: Method,
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    similarity: str = "spearman",
    seed: Seed = 0,
    **options: Any,
) -> Float[Array, " b"]:
    """Compare the maps of the target with those of another class, drawn at random.

    A low similarity is good (Sixt et al. 2020, arXiv:1912.09818).

    Args:
        target: None (the top class), class numbers or labels.
        seed: an int or a JAX key. All images move on by the same random number of classes.
        method, model, images, similarity, options: as `model_randomization`.

    Returns: `[B]`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> attribution.metrics.random_logit(attribution.saliency, model, images).shape
        (2,)
    """
    check_function(method, "method", "attribution.saliency")
    compare = _comparison(similarity)
    query = ask(model, images, target, layer=options.get("layer"))
    classes = model.shapes(query.size, [OUTPUT])[OUTPUT][-1]
    index = getattr(query.target, "index", None)
    if index is None or query.target.layers != (OUTPUT,):
        raise ValueError(f"target={target!r} is no class, which random_logit exchanges for another.")
    if classes < 2:
        raise ValueError(f"{model.name} has one output, and so no other class.")
    other = (index + jax.random.randint(as_key(seed), (), 1, classes)) % classes
    targets = query.target, dataclasses.replace(query.target, index=other)
    maps = [attributed(method, model, query.images, each, options) for each in targets]
    return compare(*maps)


def _comparison(similarity: str) -> Callable[[Any, Any], jax.Array]:
    check_choice(similarity, "similarity", ("spearman", "ssim"))
    if similarity == "spearman":
        return lambda a, b: _orders_alike(_sizes(a), _sizes(b))
    return lambda a, b: structural_similarity(*(_scaled(_map(each)) for each in (a, b)))


_scaled = jax.jit(normalize)


@jax.jit
def _orders_alike(a: Float[Array, "b *axes"], b: Float[Array, "b *axes"]) -> Float[Array, " b"]:
    """Return the rank correlation, and NaN for a constant map.

    A constant map has no order that could have changed: it is no success.
    """
    axes = tuple(range(1, a.ndim))
    flat = (jnp.ptp(a, axes) == 0) | (jnp.ptp(b, axes) == 0)
    return jnp.where(flat, jnp.nan, rank_correlation(a, b))


def _sizes(values: jax.Array) -> jax.Array:
    return jnp.abs(values).sum(-1) if values.ndim == 4 else jnp.abs(values)


def _map(values: jax.Array) -> jax.Array:
    if values.ndim != 4:
        raise ValueError(f"similarity='ssim' needs maps [B, h, w, C], but the attribution has shape {values.shape}.")
    if min(values.shape[1:3]) < WINDOW:
        raise ValueError(f"similarity='ssim' needs maps of at least {WINDOW} x {WINDOW}, but they are {values.shape[1:3]}.")
    return _sizes(values)
