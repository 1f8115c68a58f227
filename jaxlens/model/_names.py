"""Look up layers and labels by the names that people write, with helpful errors."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxlens._checks import suggest
from jaxlens.errors import ImageTooSmallError, UnknownLabelError, UnknownLayerError
from jaxlens.model._architecture import Architecture, Layer, Size


def resolve(layers: Mapping[str, Layer], name: Any, model: str) -> str:
    """Return the canonical name of a layer: see `Model.resolve`."""
    if isinstance(name, Layer):
        raise TypeError(f"layer={name!r} must be a name: layer.name, which is {name.name!r}.")
    if not isinstance(name, str):
        raise TypeError(f"layer={name!r} must be the name of a layer of {model}, such as {suggest('', layers)[-1]!r}.")
    if name in layers:
        return name
    if name == "labels":  # Lucid's and Lucent's word for the output
        return "logits"
    calls = {layer.path: known for known, layer in layers.items()}  # the last call of each module
    if name in calls:
        return calls[name]
    underscored: dict[str, str] = {}
    for path, known in calls.items():
        spelling = path.replace(".", "_")
        # Two modules may have one spelling ("a.b" and "a_b"): only its use is an error.
        underscored[spelling] = known if underscored.get(spelling, known) == known else ""
    if underscored.get(name):
        return underscored[name]
    if name in underscored:
        meant = [path for path in calls if path.replace(".", "_") == name]
        raise UnknownLayerError(f"layer={name!r} may be any of {meant} of {model}. Write it with dots.")
    raise UnknownLayerError(
        f"layer={name!r} is not a layer of {model}. Closest: {suggest(name, layers)}. "
        f"`model.layers` (or `jaxlens layers {model}`) lists all {len(layers)}."
    )


def too_small(fails: Callable[[Size], bool], size: Size, input_size: Size, layer: str, model: str) -> ImageTooSmallError:
    """Return the error for an image too small for `layer`, with the smallest size that is not."""
    low, high = min(size), max(input_size)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fails((middle, middle)) else (low, middle)
    return ImageTooSmallError(
        f"size={size[0]}x{size[1]} is too small for layer {layer!r} of {model}: nothing is left of the image there. "
        f"It takes {high}x{high} or more."
    )


def label_index(labels: tuple[str, ...] | None, label: Any, model: str) -> int:
    """Return the number of the output with a label: see `Model.label_index`."""
    if labels is None:
        raise ValueError(f"label={label!r}: {model} has no labels; give the number of the class.")
    numbers = [i for i, known in enumerate(labels) if known == label]
    if len(numbers) == 1:
        return numbers[0]
    if numbers:
        which = ", ".join(map(str, numbers))
        raise UnknownLabelError(f"label={label!r} names {len(numbers)} outputs of {model}: {which}. Give the number you mean.")
    raise UnknownLabelError(f"label={label!r} is not a label of {model}. Closest: {suggest(label, dict.fromkeys(labels))}.")


def check_labels(labels: tuple[str, ...], architecture: Architecture, model: str) -> None:
    """Raise unless there are as many labels as outputs: else they would name other classes."""
    outputs = architecture.layers(architecture.input_size)["logits"].channels
    if len(labels) != outputs:
        raise ValueError(f"labels holds {len(labels)} names, but {model} has {outputs} outputs.")
