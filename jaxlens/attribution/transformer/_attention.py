"""What vision transformers attend to: attention maps, attention rollout, and its relatives.

Attention layers are those that networks of the zoo and imported ones call
`<block>.attention_weights`, `[heads, T, T]`: row i says how much token i takes from each. All maps
but `attention_maps` are `[B, h, w, 1]` on the grid of patches: how much of each patch reaches the
tokens that the target reads. That is the class token's row, or the mean of all patches' rows in
networks that average them. What falls on the class token and on registers is left out.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_choice, check_images, check_number, suggest
from jaxlens._numerics import nonzero
from jaxlens._types import Images
from jaxlens.attribution._entry import entry
from jaxlens.attribution._flow import dependency_masks
from jaxlens.attribution._grid import ATTENTION, Grid, token_grid
from jaxlens.attribution._layers import values_and_gradients
from jaxlens.attribution._maps import relu
from jaxlens.attribution._query import INPUT, Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import TargetLike
from jaxlens.model import Model, activations, check_model
from jaxlens.model._architecture import Architecture, Size

Fusion = Literal["mean", "max", "min"]
FUSIONS: dict[str, Any] = {"mean": jnp.mean, "max": jnp.max, "min": jnp.min}
Attentions = tuple[Float[Array, "b heads t t"], ...]


@entry
def attention_maps(model: Model, images: Images, layers: Sequence[str] | None = None) -> dict[str, Float[Array, "b heads t t"]]:
    """Return the attention weights of each layer, `[B, heads, T, T]`, by name and in order.

    Rows sum to 1: row i says how much token i takes from each.

    Args:
        model: a vision transformer of the zoo, an imported one, or a function that names its
            attention with `jaxlens.site("....attention_weights", ...)`.
        images: floats `[B, H, W, C]` in [0, 1].
        layers: names of attention layers; None for all.

    Raises:
        ValueError: for a model without attention over all tokens: none at all, or within windows
            (Swin, MaxViT).

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, site
        >>> def network(params, x):  # one attention among the mean colors of 2 x 2 patches
        ...     tokens = x.reshape(-1, 2, 4, 2, 4, 3).mean((2, 4)).reshape(-1, 4, 3)
        ...     weigh = site("block.attention_weights", lambda t: jax.nn.softmax(t @ t.mT)[:, None])
        ...     return (weigh(tokens)[:, 0] @ tokens).mean(1)
        >>> model = Model.from_function(network, (), preprocess=lambda x: x, input_size=(8, 8))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
        >>> attribution.attention_maps(model, images)["block.attention_weights"].shape
        (2, 1, 4, 4)
    """
    images = check_images(images, channels=check_model(model).channels)
    names = attention_layers(model, (images.shape[1], images.shape[2]))
    if layers is not None:
        if isinstance(layers, str) or not isinstance(layers, Sequence) or not layers:
            raise TypeError(f"layers={layers!r} must be a list of names, such as {list(names[-1:])}.")
        chosen = [model.resolve(layer) for layer in layers]
        if wrong := [name for name in chosen if name not in names]:
            raise ValueError(
                f"layers={wrong} of {model.name} are no attention weights. Closest: {suggest(wrong[0], names)}; None takes all "
                f"{len(names)}."
            )
        names = tuple(chosen)
    return activations(model, images, names)


@method(values="sizes")
def attention_rollout(
    model: Model,
    images: Images,
    target: TargetLike = None,
    *,
    fusion: Fusion = "mean",
    discard: float = 0.0,
    residual: bool = True,
    batch_size: int | None = None,
) -> Attribution:
    """Return attention rollout, `R = A_L ... A_1`: how attention carries each patch to the output.

    Abnar and Zuidema 2020, arXiv:2005.00928. `A_l` is `(a + I) / 2` with a the mean over heads; its
    rows are made to sum to 1. Rollout knows nothing of the target, which is asked for its score
    only, nor of what values the tokens hold.

    Args:
        model, images, target, batch_size: see `jaxlens.attribution`.
        fusion: how heads become one: their "mean" (the paper), "max" or "min" (vit-explain).
        discard: the share of each image's smallest entries that is dropped from each layer, 0 to
            less than 1. It is vit-explain's `discard_ratio`, 0.9 by default, which drops them from
            the first image of a batch only, and never drops the entry from the class token to
            itself.
        residual: whether the identity, which stands for the shortcut, is added.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, site
        >>> def network(params, x):  # one attention among the mean colors of 2 x 2 patches
        ...     tokens = x.reshape(-1, 2, 4, 2, 4, 3).mean((2, 4)).reshape(-1, 4, 3)
        ...     weigh = site("block.attention_weights", lambda t: jax.nn.softmax(t @ t.mT)[:, None])
        ...     return (weigh(tokens)[:, 0] @ tokens).mean(1)
        >>> model = Model.from_function(network, (), preprocess=lambda x: x, input_size=(8, 8))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
        >>> attribution.attention_rollout(model, images).values.shape
        (2, 2, 2, 1)
    """
    check_choice(fusion, "fusion", FUSIONS)
    query, plan = _plan(model, images, target, discard)
    seen = values_and_gradients(query, plan.names, batch_size, gradient=False)
    fused = tuple(_fused(seen.values[name], fusion) for name in plan.names)
    rolled = _rolled(fused, plan.dropped, "average" if residual else "none")
    return Attribution(values=plan.maps(rolled), scores=seen.scores, method="attention_rollout", layer=INPUT)


@method(values="sizes")
def gradient_rollout(
    model: Model, images: Images, target: TargetLike = None, *, discard: float = 0.0, batch_size: int | None = None
) -> Attribution:
    """Return attention rollout of what speaks for the target.

    `A_l` is `mean_h relu(a * da) + I`, its rows made to sum to 1, where `da` is the gradient of the
    score at the attention weights a.

    Args:
        model, images, target, discard, batch_size: see `attention_rollout`.

    Differs from vit-explain: there gradients go with the layers in reverse order, rows do not sum
        to 1, and `discard` acts on the first image only. vit-explain takes the positive part after
        the mean over heads; this takes it of each head, as `transformer_attribution` does.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, site
        >>> def network(params, x):  # one attention among the mean colors of 2 x 2 patches
        ...     tokens = x.reshape(-1, 2, 4, 2, 4, 3).mean((2, 4)).reshape(-1, 4, 3)
        ...     weigh = site("block.attention_weights", lambda t: jax.nn.softmax(t @ t.mT)[:, None])
        ...     return (weigh(tokens)[:, 0] @ tokens).mean(1)
        >>> model = Model.from_function(network, (), preprocess=lambda x: x, input_size=(8, 8))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
        >>> attribution.gradient_rollout(model, images, 1).values.shape
        (2, 2, 2, 1)
    """
    query, plan = _plan(model, images, target, discard)
    seen = values_and_gradients(query, plan.names, batch_size)
    fused = tuple(_relevant(seen.values[name], seen.gradients[name]) for name in plan.names)
    rolled = _rolled(fused, plan.dropped, "sum")
    return Attribution(values=plan.maps(rolled), scores=seen.scores, method="gradient_rollout", layer=INPUT)


@method(values="sizes")
def transformer_attribution(
    model: Model, images: Images, target: TargetLike = None, *, batch_size: int | None = None
) -> Attribution:
    """Return relevance through attention, `R <- R + mean_h relu(a * da) R` from `R = I`.

    Chefer et al. 2021, arXiv:2103.15679. `a` are a layer's attention weights and `da` the gradient
    of the score there, for all layers from the first to the last, in one pass through the network.
    Values are not negative. Unlike in `gradient_rollout` rows are not normalized, so that sizes
    follow the score's gradient.

    Args:
        model, images, target, batch_size: see `jaxlens.attribution`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, site
        >>> def network(params, x):  # one attention among the mean colors of 2 x 2 patches
        ...     tokens = x.reshape(-1, 2, 4, 2, 4, 3).mean((2, 4)).reshape(-1, 4, 3)
        ...     weigh = site("block.attention_weights", lambda t: jax.nn.softmax(t @ t.mT)[:, None])
        ...     return (weigh(tokens)[:, 0] @ tokens).mean(1)
        >>> model = Model.from_function(network, (), preprocess=lambda x: x, input_size=(8, 8))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
        >>> attribution.transformer_attribution(model, images, 1).values.shape
        (2, 2, 2, 1)
    """
    query, plan = _plan(model, images, target, 0.0)
    seen = values_and_gradients(query, plan.names, batch_size)
    steps = [_relevant(seen.values[name], seen.gradients[name]) for name in plan.names]
    found = _identity(steps[0])
    for step in steps:
        found = found + step @ found
    return Attribution(values=plan.maps(found), scores=seen.scores, method="transformer_attribution", layer=INPUT)


# how attention becomes a map


@functools.partial(jax.jit, static_argnums=1)
def _fused(attention: Float[Array, "b heads t t"], fusion: str) -> Float[Array, "b t t"]:
    return FUSIONS[fusion](attention, axis=1)


@jax.jit
def _relevant(attention: Float[Array, "b heads t t"], gradient: Float[Array, "b heads t t"]) -> Float[Array, "b t t"]:
    return relu(attention * gradient).mean(1)


def _identity(like: Float[Array, "b t t"]) -> Float[Array, "b t t"]:
    return jnp.broadcast_to(jnp.eye(like.shape[-1], dtype=like.dtype), like.shape)


@functools.partial(jax.jit, static_argnums=2)
def _rolled(fused: Any, dropped: Any, shortcut: str) -> Float[Array, "b t t"]:
    """Return the product of all layers, the last one leftmost."""
    found = None
    for each in fused:
        each = _without_smallest(each, dropped)
        eye = _identity(each)
        each = {"none": each, "sum": each + eye, "average": (each + eye) / 2}[shortcut]
        total = each.sum(-1, keepdims=True)
        each = jnp.where(total == 0, eye, each / nonzero(total))  # a token that takes nothing stays as it is
        found = each if found is None else each @ found
    assert found is not None
    return found


def _without_smallest(attention: Float[Array, "b t t"], dropped: Any) -> Float[Array, "b t t"]:
    """Return each image's entries, so many of the smallest replaced by 0."""
    flat = attention.reshape(attention.shape[0], -1)
    rank = jnp.argsort(jnp.argsort(flat, axis=1), axis=1)
    return jnp.where(rank < dropped, 0, flat).reshape(attention.shape)


# where the attention is, and how tokens lie


class _Plan:
    """A model's attention layers, where its tokens lie, and which of them the target reads."""

    def __init__(self, names: tuple[str, ...], grid: Grid, read: np.ndarray, discard: float):
        self.names, self.grid, self.read = names, grid, read
        self.dropped = jnp.asarray(int(discard * len(read) ** 2))  # entries of a layer

    def maps(self, relevance: Float[Array, "b t t"]) -> Float[Array, "b h w 1"]:
        """Return the mean of the rows of the tokens that are read, as a map of patches."""
        weights = jnp.asarray(self.read / self.read.sum(), relevance.dtype)
        return self.grid.maps(jnp.einsum("t,btp->bp", weights, relevance)[..., None])


def _plan(model: Model, images: Images, target: Any, discard: Any) -> tuple[Query, _Plan]:
    if (discard := check_number(discard, "discard", low=0, high=1)) == 1:
        raise ValueError(f"discard={discard!r} must be a share, from 0 to less than 1.")
    query = ask(model, images, target)
    size, targets = query.size, tuple(query.target.layers)
    names = tuple(n for n in attention_layers(model, size) if model.leads_to(n, targets))
    if not names:
        raise ValueError(f"target reads {', '.join(targets)} of {model.name}, before which there is no attention.")
    shapes = model.shapes(size, names)
    tokens = {shapes[name][-1] for name in names}
    if len(tokens) > 1:
        raise ValueError(
            f"{model.name} has attention over different numbers of tokens, {sorted(tokens)}, which cannot be multiplied."
        )
    grid = token_grid(tokens.pop(), size)
    if grid is None:
        raise ValueError(
            f"The {shapes[names[0]][-1]} tokens of {model.name} cannot be put on a grid of square patches that divide an image "
            f"of {size[0]}x{size[1]}."
        )
    read = _read(model.architecture, size, names[-1], targets)
    return query, _Plan(names, grid, read, discard)


@functools.lru_cache(maxsize=256)
def _read(architecture: Architecture, size: Size, layer: str, targets: tuple[str, ...]) -> np.ndarray:
    """Return which tokens the target reads after its last attention."""
    for _, seen in dependency_masks(architecture, size, (layer,), targets):
        return np.asarray(seen.any((0, 2)))
    raise AssertionError(f"{layer} leads to {targets}")


def attention_layers(model: Model, size: tuple[int, int]) -> tuple[str, ...]:
    """Return the layers of attention weights over all tokens, in order.

    Raises an error that says what there is instead.
    """
    found = {
        name: layer.shape
        for name, layer in model.architecture.layers(size).items()
        if name.partition("@")[0].endswith(ATTENTION)
    }
    if not found:
        raise ValueError(
            f"{model.name} has no layer of attention weights (a name that ends in {ATTENTION!r}): it is no transformer, or one "
            "whose attention has no site. Class activation maps (attribution.grad_cam) need none."
        )
    windowed = {name: shape for name, shape in found.items() if len(shape) != 3 or shape[1] != shape[2]}
    if windowed:
        name, shape = next(iter(windowed.items()))
        raise ValueError(
            f"{model.name} attends within windows, or to other tokens: {name!r} has shape {shape}, where [heads, T, T] is "
            f"needed ({len(windowed)} of {len(found)} attention layers). Rollout is for attention over all tokens; read such "
            "weights with jaxlens.activations, or use class activation maps (attribution.grad_cam)."
        )
    return tuple(found)
