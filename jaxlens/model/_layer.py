"""What layers a forward pass has: their names, kinds and shapes, without running it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._checks import owned, suggest
from jaxlens.errors import ImageTooSmallError, UnknownLabelError, UnknownLayerError
from jaxlens.model import _nested
from jaxlens.model._attention import attention_is_site
from jaxlens.model._sites import NestedSite, Site, end, intercepting

Size = tuple[int, ...]  # of an image: height and width
Avals = tuple[tuple[tuple[int, ...], Any], ...]


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of a model.

    `name` is PyTorch's dotted path (of a module that runs several times, `path@0`, `path@1`, ...); `kind` the class of the
    module; `shape` the output for one image of the model's input size, `(H, W, C)` for maps and `(C,)` for vectors.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    path: str = dataclasses.field(default="", repr=False)  # of the module; its calls share it

    @property
    def channels(self) -> int:
        """Number of channels: the last axis."""
        return self.shape[-1]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """Everything about a model that decides its layers; hashable, so that tracing is cached."""

    forward: Callable[[Any, jax.Array], Any]
    preprocess: Callable[[jax.Array], jax.Array]
    treedef: Any
    leaves: Avals
    channels: int

    def params(self) -> Any:
        return structs(self.treedef, self.leaves)


def avals(tree: Any) -> tuple[Any, Avals]:
    """The structure of a pytree and the shapes and dtypes of its leaves, hashable."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef, tuple((tuple(jnp.shape(leaf)), jnp.result_type(leaf)) for leaf in leaves)


def structs(treedef: Any, leaves: Avals) -> Any:
    """The inverse of `avals`, with shapes for leaves."""
    return jax.tree.unflatten(treedef, [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in leaves])


Event = tuple[str, int, str, tuple[int, ...]]  # path, call number, kind, output shape without the axis of images


@dataclasses.dataclass(frozen=True)
class Traced:
    """What one forward pass does: every call of a site, in order, and whether some are inside inner traces.

    `readable` leaves out what has no axis of images first, such as a layer that is mapped over something else.
    """

    calls: tuple[tuple[str, int], ...]  # path, call number
    readable: tuple[Event, ...]
    nested: bool


@functools.lru_cache(maxsize=256)
def trace(architecture: Architecture, size: Size) -> Traced:
    """The calls of array-valued sites, as they finish."""
    try:
        found = _calls(architecture, size, 1, nested=False)
        readable = [event for event in found if event[3] is not None]
        nested = False
    except NestedSite:
        # An axis of images is as long as there are images, whatever their number.
        found, three = (_calls(architecture, size, count, nested=True) for count in (2, 3))
        readable = [event for event, other in zip(found, three, strict=True) if event == other and event[3] is not None]
        nested = True
    return Traced(tuple(event[:2] for event in found), tuple(readable), nested)


def _calls(architecture: Architecture, size: Size, count: int, *, nested: bool) -> list[Any]:
    events: list[Any] = []
    calls: dict[str, int] = {}

    def record(site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        number = calls.get(site.name, 0)
        calls[site.name] = number + 1
        out = call(*args, **kwargs)
        if hasattr(out, "shape") and out.ndim >= 1:
            with_images = not nested or out.shape[0] == count
            events.append((site.name, number, site.kind, tuple(out.shape[1:]) if with_images else None))
        return out

    images = jax.ShapeDtypeStruct((count, *size, architecture.channels), "float32")
    jax.eval_shape(
        lambda params, images: forward(architecture, params, images, [record], {}, nested=nested), architecture.params(), images
    )
    return events


def forward(
    network: Architecture,
    params: Any,
    images: jax.Array,
    interceptors: Sequence[Any],
    totals: Mapping[str, int],
    *,
    nested: bool,
) -> jax.Array:
    """Images in [0, 1] to logits, with interceptors at the sites; those in inner traces are reached if `nested`."""

    def plain(params: Any, images: jax.Array) -> jax.Array:
        with attention_is_site():
            return through(network.forward, network.preprocess, params, images)

    if nested:
        return _nested.run(plain, (params, images), interceptors, totals)
    with intercepting(interceptors, totals):
        return plain(params, images)


def through(network: Callable[..., Any], preprocess: Callable[..., Any], params: Any, images: jax.Array) -> jax.Array:
    """Images in [0, 1] to logits; the two ends are sites too."""
    count = images.shape[0]
    images = end("input", kind="Input")(images)
    logits = network(params, preprocess(images))
    if not isinstance(logits, jax.Array):
        raise TypeError(
            f"The network returned {_described(logits)} where one array of logits is needed. "
            "Pass `output=` to the adapter, for instance output=lambda out: out['logits']."
        )
    if logits.shape[:1] != (count,):
        raise ValueError(
            f"The network returned shape {logits.shape} for {count} image(s); the first axis must be that of images."
        )
    if logits.ndim == 1:  # one number per image is one output
        logits = logits[:, None]
    return end("logits", kind="Output")(logits)


def _described(output: Any) -> str:
    """What a network returned, with the names of its parts."""
    if isinstance(output, Mapping):
        return f"dict with {', '.join(map(repr, output))}"
    if isinstance(output, tuple | list):
        return f"{type(output).__name__} of {len(output)} parts"
    return type(output).__name__


def call_totals(architecture: Architecture, size: Size) -> dict[str, int]:
    """How often each layer is called in one forward pass."""
    totals: dict[str, int] = {}
    for path, number in trace(architecture, size).calls:
        totals[path] = max(totals.get(path, 0), number + 1)
    return totals


def layers_at(architecture: Architecture, size: Size) -> dict[str, Layer]:
    """The layers in execution order, by name."""
    totals = call_totals(architecture, size)
    layers = {}
    for path, number, kind, shape in trace(architecture, size).readable:
        name = path if totals[path] == 1 else f"{path}@{number}"
        layers[name] = Layer(name, kind, shape, path)
    return layers


def resolve(layers: Mapping[str, Layer], name: Any, model: str) -> str:
    """The canonical name of a layer: see `Model.resolve`."""
    if isinstance(name, Layer):
        raise TypeError(f"layer={name!r} must be a name: layer.name, which is {name.name!r}.")
    if not isinstance(name, str):
        raise TypeError(f"layer={name!r} must be the name of a layer of {model}, such as {suggest('', layers)[-1]!r}.")
    if name in layers:
        return name
    if name == "labels":  # Lucid's and Lucent's word for the output
        return "logits"
    calls = {layer.path: known for known, layer in layers.items()}  # the last call of each module
    if name in calls:
        return calls[name]
    underscored: dict[str, str] = {}
    for path, known in calls.items():
        spelling = path.replace(".", "_")
        # two modules may have one spelling ("a.b" and "a_b"): it is an error only for whoever uses it
        underscored[spelling] = known if underscored.get(spelling, known) == known else ""
    if underscored.get(name):
        return underscored[name]
    if name in underscored:
        meant = [path for path in calls if path.replace(".", "_") == name]
        raise UnknownLayerError(f"layer={name!r} may be any of {meant} of {model}. Write it with dots.")
    raise UnknownLayerError(
        f"layer={name!r} is not a layer of {model}. Closest: {suggest(name, layers)}. "
        f"`model.layers` (or `jaxlens layers {model}`) lists all {len(layers)}."
    )


def too_small(fails: Callable[[Size], bool], size: Size, input_size: Size, layer: str, model: str) -> ImageTooSmallError:
    """The error for an image that does not reach `layer`, with the smallest size that does."""
    low, high = min(size), max(input_size)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fails((middle, middle)) else (low, middle)
    return ImageTooSmallError(
        f"size={size[0]}x{size[1]} is too small for layer {layer!r} of {model}: nothing is left of the image there. "
        f"It takes {high}x{high} or more."
    )


def label_index(labels: tuple[str, ...] | None, label: Any, model: str) -> int:
    """See `Model.label_index`."""
    if labels is None:
        raise ValueError(f"label={label!r}: {model} has no labels; give the number of the class.")
    numbers = [i for i, known in enumerate(labels) if known == label]
    if len(numbers) == 1:
        return numbers[0]
    if numbers:
        which = ", ".join(map(str, numbers))
        raise UnknownLabelError(f"label={label!r} names {len(numbers)} outputs of {model}: {which}. Give the number you mean.")
    raise UnknownLabelError(f"label={label!r} is not a label of {model}. Closest: {suggest(label, dict.fromkeys(labels))}.")


def check_labels(labels: tuple[str, ...], architecture: Architecture, size: Size, model: str) -> None:
    """Refuses labels of another number than outputs: the names would be those of other classes."""
    outputs = layers_at(architecture, size)["logits"].channels
    if len(labels) != outputs:
        raise ValueError(f"labels holds {len(labels)} names, but {model} has {outputs} outputs.")


def own(params: Any) -> Any:
    """A copy: another owner may change its dicts and NumPy arrays in place, and donate its buffers to a training step."""

    def copied(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return owned(leaf)
        return jnp.array(leaf) if isinstance(leaf, jax.Array) else leaf

    return jax.tree.map(copied, params)


def is_torchs(source: Any) -> bool:
    """Whether it is a module or tensor of PyTorch, or a dict of such."""
    some = next(iter(source.values()), None) if isinstance(source, Mapping) else source
    return any(cls.__module__.partition(".")[0] == "torch" for cls in type(some).__mro__)


def same_structure(old: Any, new: Any, model: str) -> Any:
    """A copy of the new parameters in the structure and the dtypes of the old ones; see `Model.update`."""

    def named(tree: Any) -> dict[str, Any]:
        return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}

    before, after = named(old), named(new)
    if before.keys() != after.keys():
        lacking, extra = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
        raise ValueError(f"source is not of the structure of {model}: it lacks {lacking[:4]} and has {extra[:4]} besides.")
    leaves = []
    for name, leaf in before.items():
        other = after[name]
        if jnp.shape(leaf) != jnp.shape(other):
            raise ValueError(f"source{name} has shape {jnp.shape(other)}, but {model} has {jnp.shape(leaf)} there.")
        kinds = (jnp.issubdtype(jnp.result_type(x), jnp.floating) for x in (leaf, other))
        if len(set(kinds)) > 1:
            raise ValueError(f"source{name} holds {jnp.result_type(other)}, but {model} has {jnp.result_type(leaf)} there.")
        leaves.append(
            other if jnp.result_type(leaf) == jnp.result_type(other) else jnp.asarray(other).astype(jnp.result_type(leaf))
        )
    return own(jax.tree.unflatten(jax.tree.structure(old), leaves))
