"""Objectives on a class of the network's output, by number or by label."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from jaxlens._pytree import field, pytree
from jaxlens._types import Text, Whole
from jaxlens.optvis.objectives._activations import check_range, maps, one_channel
from jaxlens.optvis.objectives._base import Activations, Objective, pick
from jaxlens.optvis.objectives._channel import Channel, channel
from jaxlens.optvis.objectives._types import Labels
from jaxlens.optvis.objectives._values import Leaf, indices


@pytree
class NamedClass(Objective):
    """A class by its label, until `bind` looks up its number in the labels of a model.

    See `class_logit` and `class_probability`.
    """

    names: tuple[str, ...] = field(static=True)
    single: bool = field(static=True)
    layer: str = field(role="layer")
    batch: int | None = field(role="image", default=None)
    probability: bool = field(static=True, default=False)

    def bind(self, model: Any) -> Objective:
        found = [model.label_index(name) for name in self.names]
        of_number = class_probability if self.probability else channel
        return of_number(self.layer, found[0] if self.single else found, batch=self.batch).bind(model)

    def describe(self, task: int = 0) -> str:
        return f"probability of {self.names[task]}" if self.probability else self.names[task]


@pytree
class ClassProbability(Objective):
    """A class's share of the softmax; see `class_probability`."""

    index: Int[Leaf, ""] = field(rank=0)
    layer: str = field(role="layer")
    batch: int | None = field(role="image", default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        probabilities = jax.nn.softmax(maps(activations, self.layer, self.batch), axis=-1)
        return one_channel(probabilities.mean((0, 1, 2)), self.index)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_range(self.index, shapes[self.layer][-1], "label", self.layer)
        if shapes[self.layer][-1] == 1:
            raise ValueError(f"layer {self.layer!r} has one output, whose softmax is always 1: take class_logit instead.")

    def describe(self, task: int = 0) -> str:
        return f"probability of {self.layer}:{pick(self.index, task, 0)}"


def class_logit(layer: Text, label: Labels, batch: Whole | None = None) -> Objective:
    """Logit of a class, before the softmax, by number or by label; mean over images (Lucid sums).

    Args:
        layer: "logits", or "labels" as Lucid calls it.
        label: a class number, a label of `model.labels`, or several of one kind for a batch of
            tasks.
        batch: as in `channel`.

    Example:
        >>> from jaxlens import modelzoo
        >>> from jaxlens.optvis import objectives
        >>> model = modelzoo.load("lensnet")
        >>> objectives.class_logit("logits", "letter-A").bind(model).describe()
        'logits:65'
    """
    named = _named_class(layer, label, batch)
    return named or Channel(index=indices(label, "label"), layer=layer, batch=batch)


def class_probability(layer: Text, label: Labels, batch: Whole | None = None) -> Objective:
    """Share of a class in the softmax over all classes; mean over images and positions.

    The softmax saturates, and its gradient vanishes where the network is sure. Optimize
    `class_logit`, and measure with this.

    Args:
        layer: "logits", or any layer over whose channels the softmax is taken.
        label, batch: as in `class_logit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.class_probability("logits", 2)
        >>> float(objective({"logits": jnp.zeros((1, 4))}))
        0.25
    """
    named = _named_class(layer, label, batch, probability=True)
    return named or ClassProbability(index=indices(label, "label"), layer=layer, batch=batch)


def _named_class(layer: Any, label: Any, batch: Any, probability: bool = False) -> NamedClass | None:
    """Return the class of that label, or the classes of those labels; None for numbers."""
    names = (label,) if isinstance(label, str) else label
    names = names.tolist() if isinstance(names, np.ndarray) and names.ndim == 1 else names
    if not (isinstance(names, tuple | list) and names and all(isinstance(name, str) for name in names)):
        return None
    return NamedClass(
        names=tuple(map(str, names)), single=isinstance(label, str), batch=batch, layer=layer, probability=probability
    )
