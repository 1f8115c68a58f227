"""Choose the layers of a network that are worth showing."""

import fnmatch
from collections.abc import Sequence

from jaxlens._checks import shortened
from jaxlens._types import Names
from jaxlens.model._activations import check_model
from jaxlens.model._model import Model

# Kinds that look like the layer before or after them, or are not maps of features.
_SKIPPED = frozenset(
    ("Input", "Conv", "BatchNorm", "Sequential", "Dropout", "Concat", "MaxPool", "AdaptiveAvgPool", "LocalResponseNorm")
)


def blocks(model: Model) -> list[str]:
    """Return the layers worth showing, in execution order.

    These are the outermost blocks and activations whose map is at least 2x2.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET, blocks
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> blocks(model)
        ['relu1', 'relu2', 'relu3']
    """
    maps = [
        layer.name
        for layer in check_model(model).layers.values()
        if layer.kind not in _SKIPPED
        and layer.kind != "AttentionWeights"
        and len(layer.shape) == 3
        and min(layer.shape[:2]) > 1
        and layer.channels > 1
    ]
    return [name for name in maps if not any(name.startswith(f"{other}.") for other in maps)]


def find_layers(model: Model, wanted: Names | None) -> list[str]:
    """Return canonical names of the layers wanted, in the order asked for, each once.

    Args:
        model: any Model.
        wanted: names, or patterns such as "mixed4*". None means `blocks(model)` and "logits".

    Raises:
        UnknownLayerError: if the model does not have a name.
        ValueError: if no layer matches a pattern.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET, find_layers
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> find_layers(model, ["relu*", "logits"])
        ['relu1', 'relu2', 'relu3', 'relu4', 'logits']
    """
    check_model(model)
    if wanted is None:
        return [*blocks(model), "logits"]
    if isinstance(wanted, str) or not isinstance(wanted, Sequence) or not wanted:
        hint = f": [{wanted!r}]" if isinstance(wanted, str) else ", such as ['mixed4a'], or None for the whole network"
        raise TypeError(f"layers={shortened(wanted)} must be a list of names{hint}.")
    found: list[str] = []
    for name in wanted:
        if isinstance(name, str) and any(sign in name for sign in "*?["):
            matches = [layer for layer in model.layers if layer != "input" and fnmatch.fnmatchcase(layer, name)]
            if not matches:
                raise ValueError(f"layers={name!r} matches no layer of {model.name}; `model.layers` lists them all.")
            found += matches
        elif isinstance(name, str):
            found.append(model.resolve(name))
        else:
            raise TypeError(f"layers={wanted!r} must be names, but {name!r} is none.")
    return list(dict.fromkeys(found))
