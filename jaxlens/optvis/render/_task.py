"""What a task of a render shows: its layer, channel and class."""

import dataclasses
import re
from typing import Any

import numpy as np

from jaxlens.model import Model

# Layers after which a channel still stands for the same class: they work on each channel alone.
_PER_CHANNEL = re.compile(
    "((ReLU|Dropout|(Adaptive)?(Avg|Max)Pool)([123]d)?|Flatten|(Log)?Softmax|Sigmoid|Identity|Sequential|Output)"
)


@dataclasses.dataclass(frozen=True)
class Task:
    """What one task of a render shows.

    Attributes:
        name: a short name of the objective, such as "mixed4a:3".
        layer: the layer that the objective looks at; None if it looks at several, or at none.
        channel: the channel, if the objective is one channel of `layer`; else None.
        label: the class in `model.labels` that the channel stands for; None if it stands for none.

    Example:
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis import render
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = render.render(model, "conv1:3", size=(24, 32), steps=2, progress=False)
        >>> result.tasks[0]
        Task(name='conv1:3', layer='conv1', channel=3, label=None)
    """

    name: str
    layer: str | None = None
    channel: int | None = None
    label: str | None = None


def tasks_of(objective: Any, count: int, model: Model) -> list[Task]:
    """Return what each of the `count` tasks of a bound objective with a leading axis shows."""
    layer, index = getattr(objective, "layer", None), getattr(objective, "index", None)
    labels = model.labels if layer in class_layers(model) else None
    numbers = np.asarray([] if index is None else index)
    numbered = numbers.ndim == 1 and np.issubdtype(numbers.dtype, np.integer)
    found = []
    for row in range(count):
        name = objective.describe(row)
        number = int(numbers[row]) if numbered else None
        channel = number if name == f"{layer}:{number}" else None  # a neuron and a probability have an index too
        label = None if labels is None or channel is None else labels[channel]
        found.append(Task(name, layer, channel, label))
    return found


def class_layers(model: Model) -> tuple[str, ...]:
    """Return the layers whose channels are the classes.

    These are the logits, what computes them, and the layers between that work on each channel
    alone.
    """
    found: list[str] = []
    if not model.labels:
        return ()
    for layer in reversed(list(model.layers.values())):
        if layer.name == "input" or layer.channels != len(model.labels):
            break
        found.append(layer.name)
        if not _PER_CHANNEL.fullmatch(layer.kind):
            break
    return tuple(found)
