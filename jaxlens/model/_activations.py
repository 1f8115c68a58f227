"""Read what layers output for images."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array

from jaxlens._types import Images, ModelLike, Names
from jaxlens.model._model import Model
from jaxlens.model._run import read


def check_model(model: Any, name: str = "model") -> Model:
    """Return the Model, or raise a TypeError that says how to make one of what was given.

    Args:
        model: anything.
        name: of the argument, for the error.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET, check_model
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> check_model(model) is model
        True
        >>> check_model("lensnet", "network")
        Traceback (most recent call last):
        TypeError: network='lensnet' must be a jaxlens.Model. Load it: ...
    """
    if isinstance(model, Model):
        return model
    kinds = {str(cls.__module__).partition(".")[0] for cls in type(model).__mro__}
    text = repr(model)
    text = f"{text[:57]}..." if len(text) > 60 else text
    if isinstance(model, str):
        hint = f"Load it: jaxlens.modelzoo.load({model!r})."
    elif "torch" in kinds:
        hint = "Import the torch module: jaxlens.Model.from_torch(module, input_size=(224, 224))."
    elif "flax" in kinds:
        made = any(cls.__module__.startswith("flax.linen") for cls in type(model).__mro__)
        hint = f"Make one: jaxlens.Model.{'from_linen(module, variables)' if made else 'from_nnx(module)'}."
    elif callable(model):
        hint = "Make one: jaxlens.Model.from_function(fn, params), or another of Model.from_nnx, from_linen, from_torch."
    else:
        hint = "See jaxlens.modelzoo.load and Model.from_nnx, from_linen, from_function, from_torch."
    raise TypeError(f"{name}={text} must be a jaxlens.Model. {hint}")


def activations(model: ModelLike, images: Images, layers: Names, interceptors: Sequence[Any] = ()) -> dict[str, Array]:
    """Return what `layers` output for `images`; only what they need is computed.

    Args:
        model: any Model.
        images: floats `[B, H, W, 3]` in [0, 1]; the model applies its own preprocessing.
        layers: names as in `model.layers` (or a spelling that `model.resolve` knows).
        interceptors: changes made on the way: `interceptors.ablate`, `replace`, `perturb`, or any
            `(site, call, *args) -> output`. They apply in order, before the values are read.

    Returns: the values under the names given, `[B, H, W, C]` for maps and `[B, C]` for vectors.

    Raises:
        UnknownLayerError: if the model does not have a layer; the error names the nearest ones.
        ValueError, TypeError: if images have another layout, dtype or range.

    Example:
        >>> import jax
        >>> from jaxlens import Model, activations, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = activations(model, images, ["relu1", "logits"])
        >>> {name: values.shape for name, values in found.items()}
        {'relu1': (2, 24, 32, 32), 'logits': (2, 10)}
    """
    return read(check_model(model), images, layers, interceptors)
