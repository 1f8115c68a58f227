"""`Model.from_...`: Models of networks of other libraries."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import jax

from jaxlens._checks import check_function
from jaxlens.model import _equinox, _haiku, _linen, _nnx, _together
from jaxlens.model._assumed import settled

if TYPE_CHECKING:
    from typing import Self
else:
    Self = Any  # the run-time type checker of the tests does not know it in a class that it has not seen whole


class ModelOptions(TypedDict, total=False):
    """Attributes of a Model that its constructors take."""

    preprocess: Callable[[jax.Array], jax.Array]
    input_size: tuple[int, int]
    labels: Sequence[str] | None
    name: str
    channels: int


def _any(made: Any) -> Any:
    """The same; what its arguments are is known where it is a Model's class."""
    return made


class Constructors:
    """What `Model` inherits: a Model of a module, a function, a file's network."""

    @classmethod
    def from_nnx(
        cls,
        module: Any,
        *,
        example: Any = None,
        output: Callable[[Any], Any] | None = None,
        call: Mapping[str, Any] | None = None,
        method: str | None = None,
        **options: Unpack[ModelOptions],
    ) -> Self:
        """A Model of a Flax NNX module.

        The module is copied with its variables, put in evaluation mode and left untouched: training it afterwards does not
        change the Model, and `model.update(module)` takes its new weights. Each of its submodules is a layer under its
        attribute path (`blocks.0.conv1`), also inside `nnx.jit` and `nnx.remat`; inside `nnx.scan` and `nnx.vmap` it is none.

        Args:
            module: called as `module(images)` with preprocessed images `[B, H, W, C]`, returns logits.
            example: images `[B, H, W, C]`, from whose shape `input_size` and `channels` are taken.
            output: picks the logits from what the module returns, if that is not one array.
            call: keyword arguments for the call, static.
            method: the name of the method to call instead of the module itself.
            **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`, `labels`, `name`, `channels`.

        Warns:
            AssumedWarning: says what was assumed of `preprocess` and `input_size` where they were not given.
        """
        params, forward = _nnx.taken_apart(module, output, call, method)
        return settled(_any(cls)(params=params, forward=forward, name=type(module).__name__), example, options)

    @classmethod
    def from_linen(
        cls,
        module: Any,
        variables: Any = None,
        *,
        example: Any = None,
        output: Callable[[Any], Any] | None = None,
        call: Mapping[str, Any] | None = None,
        method: str | None = None,
        **options: Unpack[ModelOptions],
    ) -> Self:
        """A Model of a Flax Linen module and its variables.

        Each of its submodules is a layer under its path, also inside `linen.jit` and `linen.remat`; inside `linen.scan` and
        `linen.vmap` it is none.

        Args:
            module: called as `module.apply(variables, images, **call)`, returns logits; or a bound module, without `variables`.
            variables: what `module.init` or training gave, all collections: `{"params": ..., "batch_stats": ...}`.
            example: images `[B, H, W, C]`, from whose shape `input_size` and `channels` are taken.
            output: picks the logits from what the module returns, if that is not one array.
            call: keyword arguments for the call, static, such as `{"train": False}`.
            method: the name of the method to call instead of the module itself.
            **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`, `labels`, `name`, `channels`.

        Warns:
            AssumedWarning: says what was assumed of `preprocess` and `input_size` where they were not given.
        """
        params, forward = _linen.taken_apart(module, variables, output, call, method)
        return settled(_any(cls)(params=params, forward=forward, name=type(module).__name__), example, options)

    @classmethod
    def from_equinox(
        cls,
        module: Any,
        *,
        example: Any = None,
        output: Callable[[Any], Any] | None = None,
        call: Mapping[str, Any] | None = None,
        **options: Unpack[ModelOptions],
    ) -> Self:
        """A Model of an Equinox module, which takes one image `[C, H, W]` and is mapped over images inside.

        The module is put in inference mode and left untouched; `model.update(module)` takes its new weights. Each of its
        submodules is a layer under its attribute path (`layers.0`), with maps as `[B, H, W, C]` like everywhere in jaxlens;
        inside a `jax.vmap` of the module's own or `eqx.filter_jit` it is none. `jaxlens.site` names what has no path of its
        own, such as functions between the layers.

        Args:
            module: called as `module(image)` with one preprocessed image `[C, H, W]`, returns logits `[N]`.
            example: images `[B, H, W, C]` (channels last), from whose shape `input_size` and `channels` are taken.
            output: picks the logits `[B, N]` from what the mapped module returns, if that is not one array.
            call: keyword arguments for the call, static.
            **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`, `labels`, `name`, `channels`.

        Warns:
            AssumedWarning: says what was assumed of `preprocess` and `input_size` where they were not given.
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
        example: Any = None,
        output: Callable[[Any], Any] | None = None,
        call: Mapping[str, Any] | None = None,
        **options: Unpack[ModelOptions],
    ) -> Self:
        """A Model of a Haiku function: what `hk.transform` or `hk.transform_with_state` returned.

        Every module that is called is a layer under its name, with dots: `net/~/conv2_d` is `net.conv2_d`.

        Args:
            transformed: applied to preprocessed images `[B, H, W, C]` without random numbers, returns logits.
            params: its parameters.
            state: of `hk.transform_with_state`, such as batch statistics; what a call would change in it is not kept.
            example: images `[B, H, W, C]`, from whose shape `input_size` and `channels` are taken.
            output: picks the logits from what the function returns, if that is not one array.
            call: keyword arguments for the call, static, such as `{"is_training": False}`.
            **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`, `labels`, `name`, `channels`.

        Warns:
            AssumedWarning: says what was assumed of `preprocess` and `input_size` where they were not given.
        """
        arrays, forward = _haiku.taken_apart(transformed, params, state, output, call)
        return settled(_any(cls)(params=arrays, forward=forward, name="haiku"), example, options)

    @classmethod
    def from_function(
        cls, fn: Callable[[Any, jax.Array], Any], params: Any, *, example: Any = None, **options: Unpack[ModelOptions]
    ) -> Self:
        """A Model of a plain JAX function `fn(params, images) -> logits`.

        Its layers are what it names with `jaxlens.site`. `fn` is compared by identity: build the Model once.

        Args:
            fn: from parameters and preprocessed images `[B, H, W, C]` to logits `[B, N]`.
            params: any pytree of arrays.
            example: images `[B, H, W, C]`, from whose shape `input_size` and `channels` are taken.
            **options: attributes of `Model`: `preprocess` (ImageNet's by default), `input_size`, `labels`, `name`, `channels`.

        Warns:
            AssumedWarning: says what was assumed of `preprocess` and `input_size` where they were not given.
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
        """A Model of a PyTorch module, traced once and then free of torch; see `jaxlens.converters.from_torch`. Needs torch."""
        from jaxlens.converters import from_torch

        options: Any = {"example": example, "output": output, "preprocess": preprocess}
        return _any(from_torch)(module, input_size, labels=labels, name=name, check=check, **options)

    @classmethod
    def from_models(cls, models: Mapping[str, Self]) -> Self:
        """Several models as one Model, which shows all of them the same images: for joint objectives.

        Layers are called by the model's name and its own: with `from_models({"a": squeezenet, "b": inception})`,
        `channel("a.features.9", 3) + channel("b.mixed4a", 7)` is drawn for both. Everything that takes a Model takes this one.

        Args:
            models: by name. They may differ in preprocessing and input size; each sees the images at its own scale, resized
                bilinearly. They must take the same channels.

        Returns: a Model of the largest input size, whose logits are those of all, one after the other. It has no labels (the
            members' may be the same words for other numbers), so classes go by number: `class_logit("b.logits", 3)`. Gradient
            rules are for the whole: `with_gradient_rule`.

        torch-dreams' `ModelBunch`, for any objective.
        """
        return _any(cls)(**_together.joined(models, cls))
