"""What layers output for images."""

from collections.abc import Iterable, Sequence
from typing import Any

from jaxtyping import Array

from jaxlens._checks import check_images, check_some
from jaxlens._types import Images
from jaxlens.model._interceptors import bind
from jaxlens.model._model import Model
from jaxlens.model._run import run_jit


def check_model(model: Any, name: str = "model") -> Model:
    """A Model, or an error that says how to make one of what was given."""
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


def activations(model: Any, images: Images, layers: Any, interceptors: Sequence[Any] = ()) -> dict[str, Array]:
    """What `layers` output for `images`; only what they need is computed.

    Args:
        model: any Model.
        images: floats `[B, H, W, 3]` in [0, 1]; the model applies its own preprocessing.
        layers: names as in `model.layers` (or a spelling that `model.resolve` knows).
        interceptors: changes made on the way: `interceptors.ablate`, `replace`, `perturb`, or any
            `(site, call, *args) -> output`. They apply in order, before the values are read.

    Returns: the values under the names given, `[B, H, W, C]` for maps and `[B, C]` for vectors.

    Raises:
        UnknownLayerError: for a name the model does not have, with the nearest ones.
        ValueError, TypeError: for images of another layout, dtype or range.
    """
    if isinstance(layers, str):
        raise TypeError(f"layers={layers!r} must be a list of names: [{layers!r}].")
    if not isinstance(layers, Iterable):
        raise TypeError(f"layers={layers!r} must be a list of names, such as ['logits'].")
    images = check_some(check_images(images, channels=check_model(model).channels))
    names = {layer: model.resolve(layer) for layer in layers}
    model.shapes(images.shape[1:3], list(layers))
    values = run_jit(model, images, tuple(dict.fromkeys(names.values())), bind(model, interceptors))
    return {layer: values[name] for layer, name in names.items()}
