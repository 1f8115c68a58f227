"""What layers output for images."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Array

from jaxlens._types import Images
from jaxlens.model._model import Model
from jaxlens.model._run import read


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
    return read(check_model(model), images, layers, interceptors)
