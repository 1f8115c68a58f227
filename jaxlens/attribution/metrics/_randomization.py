"""Sanity checks: an explanation must change when the network, or the class, does."""

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from tqdm import tqdm

from jaxlens._checks import Images, as_key, check_choice, check_function, suggest
from jaxlens._pytree import field, pytree
from jaxlens.attribution._chunks import PATIENCE
from jaxlens.attribution._entry import entry
from jaxlens.attribution._maps import normalize
from jaxlens.attribution._query import ask
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._targets import OUTPUT
from jaxlens.attribution.metrics._inputs import attributed
from jaxlens.attribution.metrics._similarity import WINDOW, rank_correlation, structural_similarity
from jaxlens.model import Model

Method = Callable[..., Attribution]


@pytree
class Randomization:
    """How alike the maps of a network and of its randomised copies are.

    Attributes:
        similarity: `[S, B]`, after each of S randomisations.
        layers: what was randomised at each: in cascades, together with all before.
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
    target: Any = None,
    *,
    order: str = "cascading",
    layers: Sequence[str] | None = None,
    similarity: str = "spearman",
    key: Any = 0,
    progress: bool = True,
    **options: Any,
) -> Randomization:
    """How alike maps stay while the network's parameters are drawn anew, layer by layer (Adebayo et al. 2018,
    arXiv:1810.03292).

    A map that stays as it was did not depend on what the network learnt. Guided backpropagation is the known example.

    A parameter is redrawn from the normal distribution with its own mean and standard deviation, each tensor by itself, so
    that this works for any network; the paper draws from the distribution that training started from. A tensor of one value
    (biases of 0, scales of 1) stays, as it would there, and one without negative values (variances) gets absolute values.

    Args:
        method: such as `attribution.saliency`.
        model, images: see `jaxlens.attribution`.
        target: as the method takes it; None is the top class of the network as it is.
        order: "cascading" randomises from the output down and keeps what was randomised before; "independent" randomises one
            layer at a time and leaves the others.
        layers: what to randomise, in this order: names in `model.layers` or whole blocks ("mixed4a", "features.10"). None:
            every layer that has parameters, the last in order of execution first. Parameters that belong to no layer of
            `model.layers` go by their own names, in the reverse of the order in which `model.params` has them, last.
        similarity: "spearman": the rank correlation of absolute values, summed over channels where the attribution is a map
            (NaN, which is warned of, where a map is constant: it has no order that could have changed); "ssim": structural
            similarity of the same maps scaled to [0, 1] (they need 11 x 11 positions).
        key: a seed or `jax.random.key`; each tensor has its own draw, the same in every order.
        progress: show a bar when it takes longer than two seconds.
        **options: the method's own.
    """
    check_choice(order, "order", ("cascading", "independent"))
    check_function(method, "method", "attribution.saliency")
    compare, key = _comparison(similarity), as_key(key)
    query = ask(model, images, target, layer=options.get("layer"))
    clean = attributed(method, model, query.images, query.target, options)
    groups, tensors = groups_of(model, layers), _named(model.params)
    drawn = redrawn({name: tensors[name] for names in groups.values() for name in names}, key)
    found: list[jax.Array] = []
    seen: set[str] = set()
    for names in tqdm(groups.values(), desc="layers", delay=PATIENCE, disable=not progress, dynamic_ncols=True, leave=False):
        seen = (seen if order == "cascading" else set()) | set(names)
        pick = lambda path, old: drawn[name_of(path)] if name_of(path) in seen else old  # noqa: B023, E731
        other = model.replace(params=jax.tree_util.tree_map_with_path(pick, model.params))
        found.append(compare(clean, method(other, query.images, query.target, **options).values))
    return Randomization(similarity=jnp.stack(found), layers=tuple(groups))


@entry
def random_logit(
    method: Method,
    model: Model,
    images: Images,
    target: Any = None,
    *,
    similarity: str = "spearman",
    key: Any = 0,
    **options: Any,
) -> Float[Array, " b"]:
    """How alike the maps of the target and of another class, drawn at random, are; low is good (Sixt et al. 2020,
    arXiv:1912.09818).

    Args:
        target: None (the top class), class numbers or labels.
        key: a seed or `jax.random.key`. All images go the same random number of classes on.
        method, model, images, similarity, options: as `model_randomization`.
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
    other = (index + jax.random.randint(as_key(key), (), 1, classes)) % classes
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
    """The rank correlation, where a constant map is no success: it has no order that could have changed."""
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


@jax.jit
def redrawn(tensors: dict[str, Any], key: Any) -> dict[str, Any]:
    """Tensors drawn anew, each with a key that follows from its name."""

    def redraw(name: str, old: jax.Array) -> jax.Array:
        normal = jax.random.normal(jax.random.fold_in(key, zlib.crc32(name.encode())), old.shape, old.dtype)
        new = old.mean() + old.std() * normal
        return jnp.where(old.min() >= 0, jnp.abs(new), new)

    return {name: redraw(name, jnp.asarray(old)) for name, old in tensors.items()}


def _named(params: Any) -> dict[str, Any]:
    """The parameters that can be drawn, by dotted name."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {name_of(path): leaf for path, leaf in leaves if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating)}


def groups_of(model: Model, layers: Sequence[str] | None) -> dict[str, list[str]]:
    """Names of parameters by what is randomised at once, in the order of randomisation."""
    names = list(_named(model.params))
    if layers is not None:
        if isinstance(layers, str) or not isinstance(layers, Sequence) or not layers:
            raise TypeError(f"layers={layers!r} must be a list of names, such as {list(model.layers)[-2:-1]}, or None for all.")
        return {layer: _beneath(layer, names, model) for layer in layers}
    owners = {name: _owner(name, model) for name in names}
    places = {owner: place for place, owner in enumerate(dict.fromkeys(owners.values()))}
    # a container's own parameters are as deep as the first layer in it
    first: dict[str, int] = {}
    for position, layer in enumerate(model.layers):
        parts = layer.partition("@")[0].split(".")
        for end in range(1, len(parts) + 1):
            first.setdefault(".".join(parts[:end]), position)
    order = sorted(places, key=lambda owner: (first.get(owner, -1), places[owner]), reverse=True)
    return {owner: [name for name in names if owners[name] == owner] for owner in order}


def _owner(name: str, model: Model) -> str:
    """The layer that a parameter belongs to, else what its name begins with."""
    known = {layer.partition("@")[0] for layer in model.layers}
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        for start in (0, 1):  # Linen's names begin with a collection's
            if start < end and ".".join(parts[start:end]) in known:
                return ".".join(parts[start:end])
    return ".".join(parts[:-1]) or name


def _beneath(layer: str, names: list[str], model: Model) -> list[str]:
    """The parameters of a layer or of the layers in it; else of those whose names go on from it as `mixed4a_1x1` from
    `mixed4a`."""
    for separator in (".", "_"):
        found = [name for name in names if f"{_owner(name, model)}{separator}".startswith(f"{layer}{separator}")]
        if found:
            return found
    owners = dict.fromkeys(_owner(name, model) for name in names)
    raise LookupError(f"layers: {layer!r} has no parameters in {model.name}. Closest that has: {suggest(layer, owners)}.")


def name_of(path: Any) -> str:
    """A parameter's dotted name, as `features.0.kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")
