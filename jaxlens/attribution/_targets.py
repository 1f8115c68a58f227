"""What may stand for a target: a class, one class per image, labels, any objective, or None for the top class."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxlens._checks import suggest
from jaxlens.model import Model
from jaxlens.optvis.objectives import Objective, as_objective, channel, class_logit
from jaxlens.optvis.objectives._base import rebuild, remembers, task_count

OUTPUT = "logits"
LEGAL = (
    "None (the top class), a class number, a label, a list with one of these per image, or an objective such as "
    "objectives.channel('features.9', 3) or 'features.9:3'"
)


def as_target(target: Any, model: Model, logits: jax.Array | None, count: int) -> Objective:
    """The bound objective of a target, with one task per image; `logits` are needed for None only."""
    objective = _objective(target, model, logits)
    if remembers(objective):
        raise ValueError(f"target={objective.describe()} remembers earlier steps, which an attribution does not have.")
    objective = objective.bind(model)
    tasks = task_count(objective)
    if tasks not in (None, 1, count):
        raise ValueError(
            f"target holds {tasks} targets for {count} image(s). Give one for all or one per image; for several targets of one "
            f"image, repeat it: jnp.repeat(images, {tasks}, axis=0)."
        )
    return per_image(objective, count)


def _objective(target: Any, model: Model, logits: jax.Array | None) -> Objective:
    if target is None:
        if logits is None or logits.ndim != 2:
            raise ValueError(f"target=None takes the top class, but {model.name} has no vector of logits. Pass {LEGAL}.")
        return channel(OUTPUT, jnp.argmax(logits, axis=-1))
    if isinstance(target, str):
        return _named(target, model)
    if isinstance(target, Sequence) and target and all(isinstance(item, str) for item in target):
        return class_logit(OUTPUT, [_label(item, model) for item in target])
    if isinstance(target, Objective) or callable(target):
        return as_objective(target, model)
    try:
        numbers = jnp.asarray(target)
    except (TypeError, ValueError) as error:
        raise TypeError(f"target={target!r} must be {LEGAL}.") from error
    if not jnp.issubdtype(numbers.dtype, jnp.integer) or numbers.ndim > 1:
        raise TypeError(f"target={target!r} must be {LEGAL}.")
    return channel(OUTPUT, numbers)


def _named(text: str, model: Model) -> Objective:
    if ":" in text and text not in (model.labels or ()):
        return as_objective(text, model)
    return class_logit(OUTPUT, _label(text, model))


def _label(text: str, model: Model) -> str:
    if model.labels is None:
        raise ValueError(f"target={text!r}: {model.name} has no labels; pass a class number, or 'layer:channel'.")
    if text not in model.labels:
        raise ValueError(f"target={text!r} is not a label of {model.name}. Closest: {suggest(text, model.labels)}.")
    return text


def per_image(objective: Objective, count: int) -> Any:
    """The objective with an axis of images on every leaf."""

    def leaf(value: Any, rank: int) -> jax.Array:
        value = jnp.asarray(value)
        if value.ndim == rank + 1 and value.shape[0] == count:
            return value
        return jnp.broadcast_to(value if value.ndim == rank else value[0], (count, *value.shape[value.ndim - rank :]))

    return rebuild(objective, lambda child: per_image(child, count), leaf)


def check_target(objective: Objective, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raises for channels and positions that are not there; what is traced cannot be looked at."""
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(objective)):
        objective.check(shapes, 1)


def name_of(objective: Objective, image: int) -> str:
    """A short name of an image's target."""
    return objective.describe(image) if all(np.ndim(leaf) for leaf in jax.tree.leaves(objective)) else objective.describe()
