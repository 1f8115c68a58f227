"""What may be a target: a class, one per image, labels, an objective, or None for the top class."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._checks import is_known
from jaxlens.model import Model
from jaxlens.optvis.objectives import Objective, as_objective, channel
from jaxlens.optvis.objectives._base import rebuild, remembers, stack, task_count

OUTPUT = "logits"
LEGAL = (
    "None (the top class), a class number, a label, an objective such as objectives.channel('features.9', 3) or "
    "'features.9:3', or a list with one of these per image"
)


def as_target(target: Any, model: Model, logits: jax.Array | None, count: int) -> Objective:
    """Return the bound objective of a target, one task per image; only None needs `logits`."""
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
        return channel(OUTPUT, jnp.argmax(_vector(logits, model), axis=-1))
    if isinstance(target, str):
        classes = ":" not in target or target in (model.labels or ())
        return channel(OUTPUT, _class(target, model)) if classes else as_objective(target, model)
    if isinstance(target, Objective) or callable(target):
        return as_objective(target, model)
    if isinstance(target, Sequence) and any(isinstance(item, str | Objective) or callable(item) for item in target):
        if any(item is None or (isinstance(item, Sequence) and not isinstance(item, str)) for item in target):
            raise TypeError(f"target={target!r} must be {LEGAL}.")
        return _one_each([_objective(item, model, None) for item in target])
    try:  # by NumPy: JAX would cut numbers of 64 bits to 32
        numbers = target if isinstance(target, jax.Array) else np.asarray(target)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"target={target!r} must be {LEGAL}.") from error
    if not jnp.issubdtype(numbers.dtype, jnp.integer) or numbers.ndim > 1:
        raise TypeError(f"target={target!r} must be {LEGAL}.")
    if not isinstance(numbers, jax.Array) and (np.abs(numbers.astype(np.float64)) >= 2**31).any():
        raise ValueError(f"target={target!r} holds numbers that are no classes.")
    return channel(OUTPUT, jnp.asarray(numbers))


def _class(label: str, model: Model) -> int:
    try:
        return model.label_index(label)
    except ValueError as error:  # it names its own argument
        raise type(error)(str(error).replace("label=", "target=", 1)) from None


def _vector(logits: jax.Array | None, model: Model) -> jax.Array:
    if logits is None or logits.ndim != 2:
        shape = "" if logits is None else f" but an output of shape {list(logits.shape[1:])}"
        raise ValueError(
            f"target=None takes the top class, but {model.name} has no vector of logits{shape}. Of a map of classes say which: "
            "a class number (its mean over positions), or objectives.neuron('logits', class, x, y) for one position. Legal are "
            f"{LEGAL}."
        )
    return logits


def _one_each(objectives: list[Objective]) -> Objective:
    """Return objectives of one kind as the tasks of one objective."""
    if several := [each.describe() for each in objectives if task_count(each) not in (None, 1)]:
        raise ValueError(f"target lists {several[0]!r}, which holds several targets itself: give one for each image.")
    if len({jax.tree.structure(each) for each in objectives}) > 1:
        which = ", ".join(each.describe() for each in objectives)
        raise ValueError(
            f"target lists objectives of different kinds or layers ({which}), which cannot be explained at once: call the "
            "method for each kind, with its images."
        )
    return stack(objectives)


def per_image(objective: Objective, count: int) -> Any:
    """Return the objective with an axis of images on every leaf."""

    def leaf(value: Any, rank: int) -> jax.Array:
        value = jnp.asarray(value)
        if value.ndim == rank + 1 and value.shape[0] == count:
            return value
        return jnp.broadcast_to(value if value.ndim == rank else value[0], (count, *value.shape[value.ndim - rank :]))

    return rebuild(objective, lambda child: per_image(child, count), leaf)


def check_target(objective: Objective, shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse channels and positions that do not exist; traced targets are not looked at."""
    if is_known(*jax.tree.leaves(objective)):
        objective.check(shapes, 1)


def name_of(objective: Objective, image: int) -> str:
    """Return a short name of an image's target."""
    return objective.describe(image) if all(np.ndim(leaf) for leaf in jax.tree.leaves(objective)) else objective.describe()
