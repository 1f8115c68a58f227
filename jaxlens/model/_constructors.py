"""`Model.from_...`: make Models of networks of other libraries."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import jax

from jaxlens._checks import check_function
from jaxlens.model import _equinox, _haiku, _linen, _nnx, _together
from jaxlens.model._assumed import settled

if TYPE_CHECKING:
    from typing import Self

    from flax import linen, nnx
    from jax.typing import ArrayLike

    NNXModule = nnx.Module
    LinenModule = linen.Module
    LinenVariables = Mapping[str, Any] | None
    ExampleImages = ArrayLike | jax.ShapeDtypeStruct | None
else:  # checked by hand, because our errors say what to do; and beartype does not know Self here
    Self = NNXModule = LinenModule = LinenVariables = ExampleImages = Any


class ModelOptions(TypedDict, total=False):
    """Attributes of a Model that its constructors take as options."""

    preprocess: Callable[[jax.Array], jax.Array]
    input_size: tuple[int, int]
    labels: Sequence[str] | None
    name: str
    channels: int


def _any(made: Any) -> Any:
    """Return `made` without its type: what it takes is known only in the class `Model`."""
    return made


class Constructors:
    """The constructors of `Model`, which inherits them."""

    @classmethod
    def from_nnx(
        cls,
        module: NNXModule,
        *,
        example: ExampleImages = None,
        output: Callable[[Any], Any] | None = None,
        call: Mapping[str, Any] | None = None,
        method: str | None = None,
        **options: Unpack[ModelOptions],
    ) -> Self:
        """Return a Model of a Flax NNX module.

        The Model holds a copy of the module and its variables in evaluation mode. Training the
        module afterwards does not change the Model; `model.update(module)` takes the new weights.
        Each submodule is a layer under its attribute path (`blocks.0.conv1`), also inside `nnx.jit`
        and `nnx.remat`, but not inside `nnx.scan` and `nnx.vmap`.

        Args:
            module: it is called as `module(images)` with preprocessed images `[B, H, W, C]` and
                returns logits.
            example: images `[B, H, W, C]`; their shape gives `input_size` and `channels`.
            output: picks the logits from what the module returns, if that is not one array.
            call: keyword arguments for the call, static.
            method: the name of the method to call instead of the module itself.
            **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`,
                `labels`, `name`, `channels`.

        Warns:
            AssumedWarning: if `preprocess` or `input_size` had to be assumed; it says what was.

        Example:
            >>> from flax import nnx
            >>> from jaxlens import Model
            >>> from jaxlens.model import IMAGENET
            >>> class Net(nnx.Module):
            ...     def __init__(self, rngs):
            ...         self.conv = nnx.Conv(3, 8, (3, 3), rngs=rngs)
            ...         self.head = nnx.Linear(8, 10, rngs=rngs)
            ...     def __call__(self, images):
            ...         return self.head(nnx.relu(self.conv(images)).mean((1, 2)))
            >>> model = Model.from_nnx(Net(nnx.Rngs(0)), preprocess=IMAGENET, input_size=(24, 32))
            >>> list(model.layers)
            ['input', 'conv', 'head', 'logits']
        """
        params, forward = _nnx.taken_apart(module, output, call, method)
        return settled(_any(cls)(params=params, forward=forward, name=type(module).__name__), example, options)

    @classmethod
    def from_linen(
        cls,
        module: LinenModule,
        variables: LinenVariables = None,
        *,
        example: ExampleImages = None,
        output: Callable[[Any], Any] | None = None,
        call: Mapping[str, Any] | None = None,
        method: str | None = None,
        **options: Unpack[ModelOptions],
    ) -> Self:
        """Return a Model of a Flax Linen module and its variables.

        Each submodule is a layer under its path, also inside `linen.jit` and `linen.remat`, but not
        inside `linen.scan` and `linen.vmap`.

        Args:
            module: it is called as `module.apply(variables, images, **call)` and returns logits. A
                bound module needs no `variables`.
            variables: what `module.init` or training gave, with all collections:
                `{"params": ..., "batch_stats": ...}`.
            example: images `[B, H, W, C]`; their shape gives `input_size` and `channels`.
            output: picks the logits from what the module returns, if that is not one array.
            call: keyword arguments for the call, static, such as `{"train": False}`.
            method: the name of the method to call instead of the module itself.
            **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`,
                `labels`, `name`, `channels`.

        Warns:
            AssumedWarning: if `preprocess` or `input_size` had to be assumed; it says what was.

        Example:
            >>> import jax
            >>> from flax import linen
            >>> from jaxlens import Model
            >>> from jaxlens.model import IMAGENET
            >>> class Net(linen.Module):
            ...     @linen.compact
            ...     def __call__(self, images):
            ...         hidden = linen.relu(linen.Conv(8, (3, 3))(images))
            ...         return linen.Dense(10)(hidden.mean((1, 2)))
            >>> variables = Net().init(jax.random.key(0), jax.numpy.zeros((1, 24, 32, 3)))
            >>> model = Model.from_linen(Net(), variables, preprocess=IMAGENET, input_size=(24, 32))
            >>> list(model.layers)
            ['input', 'Conv_0', 'Dense_0', 'logits']
        """
        params, forward = _linen.taken_apart(module, variables, output, call, method)
        return settled(_any(cls)(params=params, forward=forward, name=type(module).__name__), example, options)

    @classmethod
    def from_equinox(
        cls,
        module: Any,
        *,
        example: ExampleImages = None,
        output: Callable[[Any], Any] | None = None,
        call: Mapping[str, Any] | None = None,
        **options: Unpack[ModelOptions],
    ) -> Self:
        """Return a Model of an Equinox module, which takes one image `[C, H, W]`.

        The Model maps the module over images. It holds a copy of the module in inference mode;
        `model.update(module)` takes the module's new weights. Each submodule is a layer under its
        attribute path (`layers.0`), with maps as `[B, H, W, C]` like everywhere in jaxlens, but not
        inside `eqx.filter_jit` or a `jax.vmap` of the module's own. `jaxlens.site` names what has
        no path, such as functions between the layers.

        Args:
            module: it is called as `module(image)` with one preprocessed image `[C, H, W]` and
                returns logits `[N]`.
            example: images `[B, H, W, C]`, channels last; their shape gives `input_size` and
                `channels`.
            output: picks the logits `[B, N]` from what the mapped module returns, if that is not
                one array.
            call: keyword arguments for the call, static.
            **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`,
                `labels`, `name`, `channels`.

        Warns:
            AssumedWarning: if `preprocess` or `input_size` had to be assumed; it says what was.

        Example:
            >>> import equinox
            >>> import jax
            >>> from jaxlens import Model
            >>> from jaxlens.model import IMAGENET
            >>> layers = [
            ...     equinox.nn.Conv2d(3, 8, 3, key=jax.random.key(0)),
            ...     equinox.nn.Lambda(lambda x: jax.nn.relu(x).mean((1, 2))),
            ...     equinox.nn.Linear(8, 10, key=jax.random.key(1)),
            ... ]
            >>> net = equinox.nn.Sequential(layers)
            >>> model = Model.from_equinox(net, preprocess=IMAGENET, input_size=(24, 32))
            >>> model.layers["layers.0"].shape
            (22, 30, 8)
        """
        params, forward = _equinox.taken_apart(module, output, call)
        return settled(_any(cls)(params=params, forward=forward, name=type(module).__name__), example, options)

    @classmethod
    def from_haiku(
        cls,
        transformed: Any,
        params: Any,
        state: Any = None,
        *,
        example: ExampleImages = None,
        output: Callable[[Any], Any] | None = None,
        call: Mapping[str, Any] | None = None,
        **options: Unpack[ModelOptions],
    ) -> Self:
        """Return a Model of a Haiku function.

        Every module that is called is a layer under its name, with dots: `net/~/conv2_d` is
        `net.conv2_d`.

        Args:
            transformed: what `hk.transform` or `hk.transform_with_state` returned. It is applied to
                preprocessed images `[B, H, W, C]` without random numbers and returns logits.
            params: its parameters.
            state: the state of `hk.transform_with_state`, such as batch statistics. Changes that a
                call makes to it are dropped.
            example: images `[B, H, W, C]`; their shape gives `input_size` and `channels`.
            output: picks the logits from what the function returns, if that is not one array.
            call: keyword arguments for the call, static, such as `{"is_training": False}`.
            **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`,
                `labels`, `name`, `channels`.

        Warns:
            AssumedWarning: if `preprocess` or `input_size` had to be assumed; it says what was.

        Example:
            >>> import haiku
            >>> import jax
            >>> from jaxlens import Model
            >>> from jaxlens.model import IMAGENET
            >>> def forward(images):
            ...     return haiku.Linear(10)(jax.nn.relu(haiku.Conv2D(8, 3)(images)).mean((1, 2)))
            >>> net = haiku.transform(forward)
            >>> params = net.init(jax.random.key(0), jax.numpy.zeros((1, 24, 32, 3)))
            >>> model = Model.from_haiku(net, params, preprocess=IMAGENET, input_size=(24, 32))
            >>> list(model.layers)
            ['input', 'conv2_d', 'linear', 'logits']
        """
        arrays, forward = _haiku.taken_apart(transformed, params, state, output, call)
        return settled(_any(cls)(params=arrays, forward=forward, name="haiku"), example, options)

    @classmethod
    def from_function(
        cls, fn: Callable[[Any, jax.Array], Any], params: Any, *, example: ExampleImages = None, **options: Unpack[ModelOptions]
    ) -> Self:
        """Return a Model of a plain JAX function `fn(params, images) -> logits`.

        Its layers are what it names with `jaxlens.site`. `fn` is compared by identity, so build the
        Model once: that of another function object compiles anew.

        Args:
            fn: from parameters and preprocessed images `[B, H, W, C]` to logits `[B, N]`.
            params: any pytree of arrays.
            example: images `[B, H, W, C]`; their shape gives `input_size` and `channels`.
            **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`,
                `labels`, `name`, `channels`.

        Warns:
            AssumedWarning: if `preprocess` or `input_size` had to be assumed; it says what was.

        Example:
            >>> import jax
            >>> import jax.numpy as jnp
            >>> from jaxlens import Model, site
            >>> from jaxlens.model import Preprocess
            >>> def forward(params, images):
            ...     return site("relu", jax.nn.relu)(images.mean((1, 2)) @ params["w"])
            >>> params = {"w": jnp.ones((3, 10))}
            >>> model = Model.from_function(
            ...     forward, params, preprocess=Preprocess(), input_size=(24, 32)
            ... )
            >>> model(jnp.ones((2, 24, 32, 3))).shape
            (2, 10)
        """
        check_function(fn, "fn", "forward(params, images) -> logits")
        return settled(_any(cls)(params=params, forward=fn, name=getattr(fn, "__name__", "model")), example, options)

    @classmethod
    def from_torch(
        cls,
        module: Any,
        input_size: tuple[int, int] | None = None,
        *,
        example: Any = None,
        output: str | int | tuple[str | int, ...] = (),
        preprocess: Callable[[jax.Array], jax.Array] | None = None,
        labels: Sequence[str] | None = None,
        name: str | None = None,
        check: bool = True,
    ) -> Self:
        """Return a Model of a PyTorch module, traced once and then free of torch. Needs torch.

        `jaxlens.converters.from_torch` describes the arguments.

        Example:
            >>> import torch
            >>> from jaxlens import Model
            >>> from jaxlens.model import IMAGENET
            >>> net = torch.nn.Sequential(
            ...     torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
            ...     torch.nn.Flatten(), torch.nn.Linear(8, 10),
            ... ).eval()
            >>> model = Model.from_torch(net, input_size=(24, 32), preprocess=IMAGENET)
            >>> model.layers["0"].shape
            (22, 30, 8)
        """
        from jaxlens.converters import from_torch

        options: Any = {"example": example, "output": output, "preprocess": preprocess}
        return _any(from_torch)(module, input_size, labels=labels, name=name, check=check, **options)

    @classmethod
    def from_models(cls, models: Mapping[str, Self]) -> Self:
        """Return one Model that shows the same images to several models, for joint objectives.

        A layer's name is the model's name, a dot and the layer's own name: with
        `from_models({"a": squeezenet, "b": inception})`,
        `channel("a.features.9", 3) + channel("b.mixed4a", 7)` is optimized for both. Everything
        that takes a Model takes this one.

        Args:
            models: by name. They may differ in preprocessing and input size: each sees the images
                at its own scale, resized bilinearly. They must take the same number of channels.

        Returns: a Model of the largest input size, whose logits are those of all members, one after
            the other. It has no labels, because members may use one word for different outputs;
            give classes by number: `class_logit("b.logits", 3)`. Gradient rules are for the
            whole: `with_gradient_rule`.

        torch-dreams' `ModelBunch`, for any objective.

        Example:
            >>> from jaxlens import Model, modelzoo
            >>> from jaxlens.model import IMAGENET
            >>> nets = {"a": modelzoo.simple_cnn(seed=0), "b": modelzoo.simple_cnn(5, seed=1)}
            >>> models = {
            ...     name: Model.from_nnx(net, preprocess=IMAGENET, input_size=(24, 32))
            ...     for name, net in nets.items()
            ... }
            >>> Model.from_models(models).shapes((24, 32), ["a.conv1", "b.fc2", "logits"])
            {'a.conv1': (24, 32, 32), 'b.fc2': (5,), 'logits': (15,)}
        """
        return _any(cls)(**_together.joined(models, cls))
