"""The Model: parameters and a pure forward function in which every layer is a named site."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import Images, owned
from jaxlens._program import trace
from jaxlens._pytree import field, pytree
from jaxlens.model import _layer, _pickled
from jaxlens.model._forward import Forward
from jaxlens.model._interceptors import Replace
from jaxlens.model._layer import Layer
from jaxlens.model._preprocess import IMAGENET, Rounded
from jaxlens.model._rules import GradientRule, GradientRuleError, apply_rule
from jaxlens.model._sites import NestedSite, Site


@pytree
class Model:
    """A network one can look into: `params` and a pure `forward(params, x) -> logits`.

    A Model is a pytree whose leaves are the weights, so it passes through `jax.jit`, `jax.grad` and
    sharding like any argument, and another set of weights does not recompile anything. Build
    one with `jaxlens.modelzoo.load`, `Model.from_nnx`, `Model.from_linen` or `Model.from_function`.

    Attributes:
        params: the weights, any pytree.
        forward: the network, from preprocessed images `[B, H, W, C]` to logits.
        preprocess: from images in [0, 1] to what the network eats; usually a `Preprocess`.
        input_size: the (height, width) it was trained at; smaller images are upsampled to it.
        labels: one name per output, or None.
        name: how errors and files call it.
        channels: of the images it takes.
        rule: how gradients pass its ReLUs; see `with_gradient_rule`.
    """

    params: Any
    forward: Callable[[Any, jax.Array], Any] = field(static=True)
    preprocess: Callable[[jax.Array], jax.Array] = field(static=True, default=IMAGENET)
    input_size: tuple[int, ...] = field(static=True, default=(224, 224))
    labels: tuple[str, ...] | None = field(static=True, default=None)
    name: str = field(static=True, default="model")
    channels: int = field(static=True, default=3)
    rule: GradientRule | None = None

    def __repr__(self) -> str:
        leaves = [leaf for leaf in jax.tree.leaves(self.params) if hasattr(leaf, "shape")]
        rule = "" if self.rule is None else f", rule={type(self.rule).__name__.strip('_').lower()}"
        count = sum(math.prod(leaf.shape) for leaf in leaves)
        return f"Model({self.name!r}, {count:,} parameters, input_size={self.input_size}{rule})"

    def __reduce__(self) -> Any:
        """The fields alone: what was found out about them is found out again in a copy or another process."""
        state = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return _pickled.restored, (Model, _pickled.dumps(state))

    def __call__(self, images: Images) -> Float[Array, "b *n"]:
        """Logits of images `[B, H, W, C]`, floats in [0, 1]; a network of one number per image gives `[B, 1]`."""
        from jaxlens.model._activations import activations

        return activations(self, images, ["logits"])["logits"]

    @functools.cached_property
    def layers(self) -> Mapping[str, Layer]:
        """Every layer by name, in execution order, with its shape at `input_size`.

        "input" is the image in [0, 1] and "logits" the output. Found by `jax.eval_shape`: nothing is computed.
        """
        return MappingProxyType(_layer.layers_at(self._architecture, self.input_size))

    @functools.cached_property
    def fixed_size(self) -> bool:
        """Whether the network runs at `input_size` and at no other: its images must be shown to it at that size."""
        height, width = self.input_size
        return all(
            _runs(self._architecture, self.input_size) and not _runs(self._architecture, size)
            for size in ((2 * height, 2 * width), (height + height // 2, width + width // 2))
        )

    def label_index(self, label: Any) -> int:
        """The number of the output that `label` names.

        Raises:
            UnknownLabelError: for a label that no output has (with the nearest ones) or that several have (with their numbers).
        """
        return _layer.label_index(self.labels, label, self.name)

    def resolve(self, layer: Any) -> str:
        """The canonical name of `layer`.

        Besides the names in `layers`: "labels" for "logits"; the bare name of a module that is called several
        times (torchvision's shared `relu`) for its last call; Lucent's spelling with underscores for dots.

        Raises:
            UnknownLayerError: with the nearest names.
        """
        return _layer.resolve(self.layers, layer, self.name)

    def shapes(self, size: tuple[int, int], layers: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Output shapes of `layers` for one image of `size` (height, width), without computing anything.

        Raises:
            ImageTooSmallError: if nothing is left of such an image at a layer.
        """
        names = tuple(self.resolve(layer) for layer in layers)

        def fails(where: _layer.Size) -> bool:
            try:
                _shapes(self._architecture, self.input_size, names, where)
            except (TypeError, ValueError, ZeroDivisionError):
                return True
            return False

        # a network that takes one size only, and fails at twice its size too, has an error of its own
        twice = (2 * self.input_size[0], 2 * self.input_size[1])
        if fails(size) and not fails(self.input_size) and not fails(twice):
            raise _layer.too_small(fails, size, self.input_size, layers[-1], self.name)
        try:
            return dict(_shapes(self._architecture, self.input_size, names, size))
        except (TypeError, ValueError, ZeroDivisionError) as error:
            if not self.fixed_size:
                raise
            (height, width), own = size, self.input_size
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"{self.name} does not take images of {height}x{width}, but of {own[0]}x{own[1]} only (its input_size): resize "
                f"them, in a render with fixed_image_size=({own[0]}, {own[1]}). ({reason})"
            ) from error

    def with_gradient_rule(self, rule: GradientRule | None) -> "Model":
        """The same model with another backward pass at its ReLUs: `rules.guided()`, `rules.deconvnet()`,
        `rules.redirected()`, or None for the true gradient. Values do not change."""
        return self.replace(rule=rule)

    def accepts_rule(self, rule: GradientRule, layers: Sequence[str]) -> bool:
        """Whether the rule knows every nonlinearity on the way to `layers`."""
        names = tuple(self.resolve(layer) for layer in layers)
        return _accepts(self._architecture, self.input_size, names, *_layer.avals(rule))

    def leads_to(self, layer: str, layers: Sequence[str]) -> bool:
        """Whether what `layer` outputs can change what any of `layers` does."""
        names = tuple(self.resolve(name) for name in layers)
        return _leads_to(self._architecture, self.input_size, self.resolve(layer), names)

    def replace(self, **changes: Any) -> "Model":
        """A copy with some attributes changed. Dicts and NumPy arrays of `params` are copied."""
        if "params" in changes:
            changes["params"] = jax.tree.map(lambda x: owned(x) if isinstance(x, np.ndarray) else x, changes["params"])
        return dataclasses.replace(self, **changes)

    def update(self, source: Any) -> "Model":
        """The same model with other weights, such as those of the module that is in training; nothing is compiled again.

        What a module holds besides arrays counts too: an activation function, strides, a number. Where such a setting has
        changed, the network is another one, and programs are compiled for it.

        Args:
            source: the NNX or Equinox module, or the Linen variables or other parameters, of the structure that the Model was
                made of. The weights are copied.

        Raises:
            ValueError: where the structure, a shape or a kind of numbers is another; it says which.
        """
        if _layer.is_torchs(source):
            raise TypeError(
                f"source={type(source).__name__} holds PyTorch's tensors, under other names and in other layouts than "
                f"{self.name}: make another Model with Model.from_torch, or of a state dict with modelzoo.load(name, file)."
            )
        forward, params = self.forward.updated(source) if isinstance(self.forward, Forward) else (self.forward, source)
        return self.replace(forward=forward, params=_layer.same_structure(self.params, params, self.name))

    def astype(self, dtype: Any) -> "Model":
        """The same model with its floating-point weights, and the images after preprocessing, in another float dtype.

        "bfloat16" halves memory and is what accelerators multiply fastest; statistics (means, variances, softmax) are still
        taken in float32. Activations come out in that dtype.
        """
        given = dtype
        try:
            dtype = jnp.dtype(dtype)
        except TypeError as error:
            raise TypeError(f"dtype={given!r} must be a floating-point type, such as 'bfloat16'.") from error
        if given is None or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"dtype={given!r} must be a floating-point type, such as 'bfloat16'.")
        floating = functools.partial(jax.tree.map, lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x)
        return self.replace(params=floating(self.params), preprocess=Rounded(self.preprocess, dtype.name))

    @property
    def _architecture(self) -> _layer.Architecture:
        return _layer.Architecture(self.forward, self.preprocess, *_layer.avals(self.params), self.channels)

    @staticmethod
    def from_nnx(module: Any, **options: Any) -> "Model":
        """A Model of a Flax NNX module `module(images) -> logits`; see `jaxlens.model.from_nnx`."""
        from jaxlens.model._nnx import from_nnx

        return from_nnx(module, **options)

    @staticmethod
    def from_linen(module: Any, variables: Any = None, **options: Any) -> "Model":
        """A Model of a Flax Linen module and its variables; see `jaxlens.model.from_linen`."""
        from jaxlens.model._linen import from_linen

        return from_linen(module, variables, **options)

    @staticmethod
    def from_equinox(module: Any, **options: Any) -> "Model":
        """A Model of an Equinox module `module(image) -> logits`; see `jaxlens.model.from_equinox`."""
        from jaxlens.model._equinox import from_equinox

        return from_equinox(module, **options)

    @staticmethod
    def from_haiku(transformed: Any, params: Any, state: Any = None, **options: Any) -> "Model":
        """A Model of a transformed Haiku function; see `jaxlens.model.from_haiku`."""
        from jaxlens.model._haiku import from_haiku

        return from_haiku(transformed, params, state, **options)

    @staticmethod
    def from_torch(module: Any, input_size: tuple[int, int] | None = None, **options: Any) -> "Model":
        """A Model of a PyTorch module, traced once and then free of torch; see `converters.from_torch`. Needs torch."""
        from converters import from_torch

        return from_torch(module, input_size, **options)

    @staticmethod
    def from_models(models: Mapping[str, "Model"]) -> "Model":
        """Several models as one, for joint objectives; see `jaxlens.model.from_models`."""
        from jaxlens.model._together import from_models

        return from_models(models)

    @staticmethod
    def from_function(fn: Callable[[Any, jax.Array], Any], params: Any, **options: Any) -> "Model":
        """A Model of a plain function `fn(params, images) -> logits`; see `jaxlens.model.from_function`."""
        from jaxlens.model._function import from_function

        return from_function(fn, params, **options)


def run(model: Model, images: jax.Array, names: tuple[str, ...], interceptors: Sequence[Any] = ()) -> dict[str, Array]:
    """`activations` for canonical names and bound interceptors, to be called inside traced code.

    The forward pass stops at the last layer needed, so the rest of the network is not even traced.
    """
    if model.rule is None:
        return _read(model, images, names, interceptors)
    # Rules are written for one example: what one image does must not depend on its neighbours.
    # Values that interceptors put in place of activations carry gradients as the image does; other arguments do not.
    moving = tuple(each if hasattr(each, "batch_axes") else None for each in interceptors)
    fixed = tuple(each if moving[i] is None else None for i, each in enumerate(interceptors))
    axes = tuple(each and each.batch_axes() for each in moving)

    def read(varied: Any, params: Any, fixed: Any) -> dict[str, Array]:
        image, moving = varied
        both = [b if a is None else a for a, b in zip(moving, fixed, strict=True)]
        return _read(model.replace(params=params), image, names, both)

    def for_image(image: jax.Array, moving: Any) -> dict[str, Array]:
        single = tuple(
            each if axis is None else jax.tree.map(lambda x: x[None], each) for each, axis in zip(moving, axes, strict=True)
        )
        values = apply_rule(rule, read)((image[None], single), model.params, fixed)
        return {name: value[0] for name, value in values.items()}

    rule = model.rule
    return jax.vmap(for_image, in_axes=(0, axes))(images, moving)


run_jit = jax.jit(run, static_argnames=("names",))


def of_architecture(architecture: _layer.Architecture, input_size: _layer.Size, params: Any) -> Model:
    """A Model of the same computation, without labels and rule."""
    return Model(
        params=params,
        forward=architecture.forward,
        preprocess=architecture.preprocess,
        input_size=input_size,
        channels=architecture.channels,
    )


# What follows from shapes alone is found once per architecture, layers and size: rendering asks again at every call.


@functools.lru_cache(maxsize=1024)
def _shapes(
    architecture: _layer.Architecture, input_size: _layer.Size, names: tuple[str, ...], size: _layer.Size
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    jaxpr, out = _abstract_run(architecture, input_size, names, size, None)
    # An array of nothing, and not only at a named layer: its mean would be NaN without a word.
    if any(0 in getattr(var.aval, "shape", ()) for eqn in jaxpr.jaxpr.eqns for var in eqn.outvars):
        raise ValueError("the image vanishes on the way")
    return tuple((name, tuple(value.shape[1:])) for name, value in out.items())


@functools.lru_cache(maxsize=1024)
def _accepts(
    architecture: _layer.Architecture,
    input_size: _layer.Size,
    names: tuple[str, ...],
    rule: Any,
    leaves: _layer.Avals,
) -> bool:
    try:
        _abstract_run(architecture, input_size, names, input_size, _layer.structs(rule, leaves))
    except GradientRuleError:
        return False
    return True


@functools.lru_cache(maxsize=1024)
def _leads_to(architecture: _layer.Architecture, input_size: _layer.Size, layer: str, names: tuple[str, ...]) -> bool:
    """Whether the outputs depend on values put in place of the layer's."""
    shape = dict(_shapes(architecture, input_size, (layer,), input_size))[layer]
    image = jax.ShapeDtypeStruct((1, *input_size, architecture.channels), jnp.float32)
    values = jax.ShapeDtypeStruct((1, *shape), jnp.float32)

    def call(values: jax.Array, image: jax.Array, params: Any) -> dict[str, Array]:
        model = of_architecture(architecture, input_size, params)
        given = () if layer == "input" else (Replace(value=values, layer=layer),)
        return run(model, values if layer == "input" else image, names, given)

    program = trace(call, (values, image, architecture.params()))
    return any(value.depends for value in program.outputs)


def _abstract_run(
    architecture: _layer.Architecture,
    input_size: _layer.Size,
    names: tuple[str, ...],
    size: _layer.Size,
    rule: Any,
) -> Any:
    """The jaxpr of `run` and the shapes of what it returns, for one image."""

    def call(params: Any, images: jax.Array, rule: Any) -> dict[str, Array]:
        model = of_architecture(architecture, input_size, params).replace(rule=rule)
        return run(model, images, names)

    images = jax.ShapeDtypeStruct((1, *size, architecture.channels), jnp.float32)
    return jax.make_jaxpr(call, return_shape=True)(architecture.params(), images, rule)


@functools.lru_cache(maxsize=256)
def _runs(architecture: _layer.Architecture, size: _layer.Size) -> bool:
    """Whether the network takes images of a size, whole."""
    try:
        _layer.trace(architecture, size)
    except (TypeError, ValueError, ZeroDivisionError):
        return False
    return True


class _Done(BaseException):
    """Raised inside a forward pass once everything wanted has been seen."""


def _read(model: Model, images: jax.Array, names: tuple[str, ...], interceptors: Sequence[Any]) -> dict[str, Array]:
    found: dict[str, Array] = {}

    def collect(site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        if site.name in names:
            found[site.name] = out
            if len(found) == len(names):
                raise _Done
        return out

    architecture = model._architecture
    totals, nested = _layer.call_totals(architecture, model.input_size), _layer.trace(architecture, model.input_size).nested
    try:
        with contextlib.suppress(_Done):
            _layer.forward(architecture, model.params, images, [*interceptors, collect], totals, nested=nested)
    except NestedSite as error:
        raise RuntimeError(
            f"Layer {str(error)!r} of {model.name} runs inside an inner jit, checkpoint, scan or vmap for images of shape "
            f"{images.shape[1:]}, and not at input_size={model.input_size}: set input_size to the size you show."
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise RuntimeError(
            f"Layers {missing} of {model.name} did not run for images of shape {images.shape[1:]}, although they do at "
            f"input_size={model.input_size}: the network takes another way. Set input_size to the size you show."
        )
    return found
