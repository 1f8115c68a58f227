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
from jaxlens._types import DType, Images, Text
from jaxlens.model import _names, _pickled, _weights
from jaxlens.model._architecture import Architecture, Layer, Size, avals
from jaxlens.model._constructors import Constructors
from jaxlens.model._forward import Forward
from jaxlens.model._preprocess import IMAGENET, Cast
from jaxlens.model._rules import GradientRule
from jaxlens.model._run import accepts, fits, leads_to, read, shapes_of


@pytree
class Model(Constructors):
    """A network one can look into: `params` and a pure `forward(params, x) -> logits`.

    A Model is a pytree whose leaves are the weights, so it passes through `jax.jit`, `jax.grad` and
    sharding like any argument, and other weights do not recompile anything. Build one with
    `jaxlens.modelzoo.load`, `Model.from_nnx`, `from_linen`, `from_equinox`, `from_haiku`,
    `from_torch` or `from_function`.

    Attributes:
        params: the weights, any pytree.
        forward: the network, from preprocessed images `[B, H, W, C]` to logits.
        preprocess: from images in [0, 1] to the range the network takes; usually a `Preprocess`.
        input_size: (height, width) of the images it was trained on; smaller ones are upsampled.
        labels: one name per output, or None.
        name: what errors and files call it.
        channels: the number of channels of the images it takes.
        rule: how gradients pass its ReLUs; see `with_gradient_rule`.

    Example:
        >>> import jax
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> model
        Model('SimpleCNN', 1,148,364 parameters, input_size=(24, 32))
        >>> model(images).shape
        (2, 10)
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
        """Pickle the fields alone; a copy or another process finds cached properties again."""
        state = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        return _pickled.restored, (Model, _pickled.dumps(state))

    def __call__(self, images: Images) -> Float[Array, "b *n"]:
        """Return logits `[B, N]` of images `[B, H, W, C]`, floats in [0, 1].

        A network that returns one number per image gives `[B, 1]`.
        """
        return read(self, images, ["logits"], ())["logits"]

    @functools.cached_property
    def layers(self) -> Mapping[str, Layer]:
        """Every layer by name, in execution order, with its shape at `input_size`.

        "input" is the image in [0, 1] and "logits" the output. `jax.eval_shape` finds the layers:
        nothing is computed.

        Example:
            >>> from jaxlens import Model, modelzoo
            >>> from jaxlens.model import IMAGENET
            >>> net = modelzoo.simple_cnn()
            >>> model = Model.from_nnx(net, preprocess=IMAGENET, input_size=(24, 32))
            >>> list(model.layers)[:4]
            ['input', 'conv1', 'bn1', 'relu1']
            >>> model.layers["conv1"]
            Layer(name='conv1', kind='Conv', shape=(24, 32, 32))
        """
        return MappingProxyType(self.architecture.layers(self.input_size))

    @functools.cached_property
    def fixed_size(self) -> bool:
        """Whether the network takes images of `input_size` only, so that others must be resized."""
        height, width = self.input_size
        return all(
            fits(self.architecture, self.input_size) and not fits(self.architecture, size)
            for size in ((2 * height, 2 * width), (height + height // 2, width + width // 2))
        )

    def label_index(self, label: Text) -> int:
        """Return the number of the output that `label` names.

        Raises:
            UnknownLabelError: if no output has the label (the error names the nearest ones), or
                several have it (the error gives their numbers).

        Example:
            >>> from jaxlens import modelzoo
            >>> modelzoo.load("lensnet").label_index("bar-45")
            1
        """
        return _names.label_index(self.labels, label, self.name)

    def resolve(self, layer: Text) -> str:
        """Return the canonical name of a layer.

        Besides the names in `layers` it takes "labels" for "logits", the bare name of a module that
        is called several times (torchvision's shared `relu`) for the last call, and Lucent's
        underscores in place of dots.

        Raises:
            UnknownLayerError: if there is no such layer; the error names the nearest ones.

        Example:
            >>> from jaxlens import Model, modelzoo
            >>> from jaxlens.model import IMAGENET
            >>> net = modelzoo.simple_cnn()
            >>> model = Model.from_nnx(net, preprocess=IMAGENET, input_size=(24, 32))
            >>> model.resolve("labels")
            'logits'
        """
        return _names.resolve(self.layers, layer, self.name)

    def shapes(self, size: tuple[int, int], layers: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Return output shapes of `layers` for one image of `size`, without computing anything.

        Args:
            size: (height, width) of the image.
            layers: their names.

        Returns: by canonical name, the shape without the axis of images.

        Raises:
            ImageTooSmallError: if nothing is left of such an image at a layer.

        Example:
            >>> from jaxlens import Model, modelzoo
            >>> from jaxlens.model import IMAGENET
            >>> net = modelzoo.simple_cnn()
            >>> model = Model.from_nnx(net, preprocess=IMAGENET, input_size=(24, 32))
            >>> model.shapes((48, 40), ["conv1", "fc1", "pool3"])
            {'conv1': (48, 40, 32), 'fc1': (512,), 'pool3': (6, 5, 128)}
        """
        names = tuple(self.resolve(layer) for layer in layers)

        def fails(where: Size) -> bool:
            try:
                shapes_of(self.architecture, names, where)
            except (TypeError, ValueError, ZeroDivisionError):
                return True
            return False

        # A network that fails at twice its size too takes one size only: the error below says so.
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
        """Return the model with another backward pass at its ReLUs. Values do not change.

        Args:
            rule: such as `rules.guided()`, `rules.deconvnet()`, `rules.redirected()`, or None for
                the true gradient.

        Example:
            >>> import jax
            >>> from jaxlens import Model, modelzoo
            >>> from jaxlens.model import IMAGENET, rules
            >>> net = modelzoo.simple_cnn()
            >>> model = Model.from_nnx(net, preprocess=IMAGENET, input_size=(24, 32))
            >>> guided = model.with_gradient_rule(rules.guided())
            >>> guided
            Model('SimpleCNN', 1,148,364 parameters, input_size=(24, 32), rule=guided)
            >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
            >>> jax.grad(lambda images: guided(images)[:, 3].sum())(images).shape
            (2, 24, 32, 3)
        """
        return self.replace(rule=rule)

    def accepts_rule(self, rule: GradientRule, layers: Sequence[str]) -> bool:
        """Return whether the rule knows every nonlinearity on the way to `layers`.

        Example:
            >>> from jaxlens import Model, modelzoo
            >>> from jaxlens.model import IMAGENET, rules
            >>> net = modelzoo.simple_cnn()
            >>> model = Model.from_nnx(net, preprocess=IMAGENET, input_size=(24, 32))
            >>> model.accepts_rule(rules.guided(), ["logits"])
            True
        """
        names = tuple(self.resolve(layer) for layer in layers)
        return accepts(self.architecture, names, *avals(rule))

    def leads_to(self, layer: str, layers: Sequence[str]) -> bool:
        """Return whether the output of `layer` can change the output of any of `layers`.

        Example:
            >>> from jaxlens import Model, modelzoo
            >>> from jaxlens.model import IMAGENET
            >>> net = modelzoo.simple_cnn()
            >>> model = Model.from_nnx(net, preprocess=IMAGENET, input_size=(24, 32))
            >>> model.leads_to("relu1", ["fc1"]), model.leads_to("fc1", ["relu1"])
            (True, False)
        """
        names = tuple(self.resolve(name) for name in layers)
        return leads_to(self.architecture, self.resolve(layer), names)

    def replace(self, **changes: Any) -> "Model":
        """Return a copy with some attributes changed.

        Dicts and NumPy arrays of `params` are copied.

        Example:
            >>> from jaxlens import Model, modelzoo
            >>> from jaxlens.model import IMAGENET
            >>> net = modelzoo.simple_cnn()
            >>> model = Model.from_nnx(net, preprocess=IMAGENET, input_size=(24, 32))
            >>> model.replace(name="small")
            Model('small', 1,148,364 parameters, input_size=(24, 32))
        """
        if "params" in changes:
            changes["params"] = jax.tree.map(lambda x: owned(x) if isinstance(x, np.ndarray) else x, changes["params"])
        return dataclasses.replace(self, **changes)

    def update(self, source: Any) -> "Model":
        """Return the model with other weights, such as those of a module in training.

        Nothing is compiled again, unless what a module holds besides arrays has changed: an
        activation function, strides, a number. The network is another one then.

        Args:
            source: the NNX or Equinox module, or the Linen variables or other parameters, of the
                structure that the Model was made of. The weights are copied.

        Raises:
            ValueError: if the structure, a shape or a kind of numbers differs; it says which.

        Example:
            >>> from jaxlens import Model, modelzoo
            >>> from jaxlens.model import IMAGENET
            >>> module = modelzoo.simple_cnn()
            >>> model = Model.from_nnx(module, preprocess=IMAGENET, input_size=(24, 32))
            >>> module.fc2.bias[...] += 1.0  # a step of training
            >>> model.update(module)
            Model('SimpleCNN', 1,148,364 parameters, input_size=(24, 32))
        """
        if _weights.is_torchs(source):
            raise TypeError(
                f"source={type(source).__name__} holds PyTorch's tensors, under other names and in other layouts than "
                f"{self.name}: make another Model with Model.from_torch, or of a state dict with modelzoo.load(name, file)."
            )
        forward, params = self.forward.updated(source) if isinstance(self.forward, Forward) else (self.forward, source)
        return self.replace(forward=forward, params=_weights.same_structure(self.params, params, self.name))

    def astype(self, dtype: DType) -> "Model":
        """Return the model with weights and preprocessed images in another float dtype.

        "bfloat16" halves memory and is what accelerators multiply fastest; statistics (means,
        variances, softmax) are still taken in float32. Activations come out in that dtype.

        Example:
            >>> import jax
            >>> from jaxlens import Model, modelzoo
            >>> from jaxlens.model import IMAGENET
            >>> net = modelzoo.simple_cnn()
            >>> model = Model.from_nnx(net, preprocess=IMAGENET, input_size=(24, 32))
            >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
            >>> model.astype("bfloat16")(images).dtype
            dtype(bfloat16)
        """
        given = dtype
        try:
            dtype = jnp.dtype(dtype)
        except TypeError as error:
            raise TypeError(f"dtype={given!r} must be a floating-point type, such as 'bfloat16'.") from error
        if given is None or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"dtype={given!r} must be a floating-point type, such as 'bfloat16'.")
        floating = functools.partial(jax.tree.map, lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x)
        return self.replace(params=floating(self.params), preprocess=Cast(self.preprocess, dtype.name))

    @property
    def architecture(self) -> Architecture:
        """All but the weights' values and the gradient rule: what decides layers and shapes."""
        return Architecture(self.forward, self.preprocess, *avals(self.params), self.channels, self.input_size)
