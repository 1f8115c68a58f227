"""The Model: parameters and a pure forward function in which every layer is a named site."""

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

from jaxlens._checks import owned
from jaxlens._pytree import field, pytree
from jaxlens._types import Images
from jaxlens.model import _names, _pickled, _weights
from jaxlens.model._architecture import Architecture, Layer, Size, avals
from jaxlens.model._constructors import Constructors
from jaxlens.model._forward import Forward
from jaxlens.model._preprocess import IMAGENET, Rounded
from jaxlens.model._rules import GradientRule
from jaxlens.model._run import accepts, fits, leads_to, read, shapes_of


@pytree
class Model(Constructors):
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
        return read(self, images, ["logits"], ())["logits"]

    @functools.cached_property
    def layers(self) -> Mapping[str, Layer]:
        """Every layer by name, in execution order, with its shape at `input_size`.

        "input" is the image in [0, 1] and "logits" the output. Found by `jax.eval_shape`: nothing is computed.
        """
        return MappingProxyType(self.architecture.layers(self.input_size))

    @functools.cached_property
    def fixed_size(self) -> bool:
        """Whether the network runs at `input_size` and at no other: its images must be shown to it at that size."""
        height, width = self.input_size
        return all(
            fits(self.architecture, self.input_size) and not fits(self.architecture, size)
            for size in ((2 * height, 2 * width), (height + height // 2, width + width // 2))
        )

    def label_index(self, label: Any) -> int:
        """The number of the output that `label` names.

        Raises:
            UnknownLabelError: for a label that no output has (with the nearest ones) or that several have (with their numbers).
        """
        return _names.label_index(self.labels, label, self.name)

    def resolve(self, layer: Any) -> str:
        """The canonical name of `layer`.

        Besides the names in `layers`: "labels" for "logits"; the bare name of a module that is called several
        times (torchvision's shared `relu`) for its last call; Lucent's spelling with underscores for dots.

        Raises:
            UnknownLayerError: with the nearest names.
        """
        return _names.resolve(self.layers, layer, self.name)

    def shapes(self, size: tuple[int, int], layers: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Output shapes of `layers` for one image of `size` (height, width), without computing anything.

        Raises:
            ImageTooSmallError: if nothing is left of such an image at a layer.
        """
        names = tuple(self.resolve(layer) for layer in layers)

        def fails(where: Size) -> bool:
            try:
                shapes_of(self.architecture, names, where)
            except (TypeError, ValueError, ZeroDivisionError):
                return True
            return False

        # a network that takes one size only, and fails at twice its size too, has an error of its own
        twice = (2 * self.input_size[0], 2 * self.input_size[1])
        if fails(size) and not fails(self.input_size) and not fails(twice):
            raise _names.too_small(fails, size, self.input_size, layers[-1], self.name)
        try:
            return dict(shapes_of(self.architecture, names, size))
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
        return accepts(self.architecture, names, *avals(rule))

    def leads_to(self, layer: str, layers: Sequence[str]) -> bool:
        """Whether what `layer` outputs can change what any of `layers` does."""
        names = tuple(self.resolve(name) for name in layers)
        return leads_to(self.architecture, self.resolve(layer), names)

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
        if _weights.is_torchs(source):
            raise TypeError(
                f"source={type(source).__name__} holds PyTorch's tensors, under other names and in other layouts than "
                f"{self.name}: make another Model with Model.from_torch, or of a state dict with modelzoo.load(name, file)."
            )
        forward, params = self.forward.updated(source) if isinstance(self.forward, Forward) else (self.forward, source)
        return self.replace(forward=forward, params=_weights.same_structure(self.params, params, self.name))

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
    def architecture(self) -> Architecture:
        """What decides the layers and their shapes: everything but the weights' values and the gradient rule."""
        return Architecture(self.forward, self.preprocess, *avals(self.params), self.channels, self.input_size)
