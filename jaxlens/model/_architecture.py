"""The layers of a forward pass, by name, kind and shape, found without running it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxlens.model import _nested
from jaxlens.model._attention import attention_is_site
from jaxlens.model._sites import NestedSite, Site, end, intercepting

Size = tuple[int, ...]  # of an image: height and width
Avals = tuple[tuple[tuple[int, ...], Any], ...]


@dataclasses.dataclass(frozen=True)
class Layer:
    """One layer of a model.

    Attributes:
        name: PyTorch's dotted path; the calls of a module that runs several times are `path@0`,
            `path@1`, ...
        kind: the class of the module.
        shape: of the output for one image of the model's input size, `(H, W, C)` for maps and
            `(C,)` for vectors.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> model.layers["conv2"]
        Layer(name='conv2', kind='Conv', shape=(12, 16, 64))
        >>> model.layers["conv2"].channels
        64
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    path: str = dataclasses.field(default="", repr=False)  # of the module; its calls share it

    @property
    def channels(self) -> int:
        """The number of channels: the length of the last axis."""
        return self.shape[-1]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """All of a Model but its weights and gradient rule: hashable, and so the key of caches."""

    forward: Callable[[Any, jax.Array], Any]
    preprocess: Callable[[jax.Array], jax.Array]
    treedef: Any
    leaves: Avals
    channels: int
    input_size: Size

    def params(self) -> Any:
        """Return the parameters as shapes."""
        return structs(self.treedef, self.leaves)

    def image(self, size: Size | None = None) -> jax.ShapeDtypeStruct:
        """Return the shape of one image `[1, H, W, C]`, of `input_size` by default."""
        return jax.ShapeDtypeStruct((1, *(self.input_size if size is None else size), self.channels), "float32")

    def layers(self, size: Size) -> dict[str, Layer]:
        """Return the layers by name, in execution order, with shapes for an image of a size."""
        totals, layers = call_totals(self, size), {}
        for path, number, kind, shape in trace(self, size).readable:
            name = path if totals[path] == 1 else f"{path}@{number}"
            layers[name] = Layer(name, kind, shape, path)
        return layers


def avals(tree: Any) -> tuple[Any, Avals]:
    """Return the structure of a pytree and the shapes and dtypes of its leaves, both hashable."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef, tuple((tuple(jnp.shape(leaf)), jnp.result_type(leaf)) for leaf in leaves)


def structs(treedef: Any, leaves: Avals) -> Any:
    """Return the pytree of which `avals` gave these parts, with `ShapeDtypeStruct`s for leaves."""
    return jax.tree.unflatten(treedef, [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in leaves])


Event = tuple[str, int, str, tuple[int, ...]]  # path, call number, kind, output shape without the axis of images


@dataclasses.dataclass(frozen=True)
class Traced:
    """The calls of sites in one forward pass, in the order in which they end.

    Attributes:
        calls: every call: its path, and its number among the calls of that path.
        readable: the calls whose output has a first axis of images; a layer that is mapped over
            something else has none.
        nested: whether some sites run inside inner traces.
    """

    calls: tuple[tuple[str, int], ...]
    readable: tuple[Event, ...]
    nested: bool


@functools.lru_cache(maxsize=256)
def trace(architecture: Architecture, size: Size) -> Traced:
    """Return the calls of the sites that output arrays."""
    try:
        found = _calls(architecture, size, 1, nested=False)
        readable = [event for event in found if event[3] is not None]
        nested = False
    except NestedSite:
        # The axis of images is the one that is as long as there are images, for two and for three.
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
    """Return logits of images in [0, 1]; `nested` lets interceptors reach sites in inner traces."""

    def plain(params: Any, images: jax.Array) -> jax.Array:
        with attention_is_site():
            return through(network.forward, network.preprocess, params, images)

    if nested:
        return _nested.run(plain, (params, images), interceptors, totals)
    with intercepting(interceptors, totals):
        return plain(params, images)


def through(network: Callable[..., Any], preprocess: Callable[..., Any], params: Any, images: jax.Array) -> jax.Array:
    """Return logits of images in [0, 1]; the two ends are sites too."""
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
    """Describe what a network returned, with the names of its parts, for an error."""
    if isinstance(output, Mapping):
        return f"dict with {', '.join(map(repr, output))}"
    if isinstance(output, tuple | list):
        return f"{type(output).__name__} of {len(output)} parts"
    return type(output).__name__


def call_totals(architecture: Architecture, size: Size) -> dict[str, int]:
    """Return how often each layer is called in one forward pass."""
    totals: dict[str, int] = {}
    for path, number in trace(architecture, size).calls:
        totals[path] = max(totals.get(path, 0), number + 1)
    return totals
