"""Objectives on all images of a task together, and sets of objectives."""

import itertools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxlens._pytree import field, pytree
from jaxlens._types import Text
from jaxlens.optvis.objectives._activations import check_range, maps, one_channel
from jaxlens.optvis.objectives._base import Activations, Objective, pick, rebuild, task_count
from jaxlens.optvis.objectives._parse import as_objective
from jaxlens.optvis.objectives._types import Numbers, ObjectiveLike, Wholes
from jaxlens.optvis.objectives._values import Leaf, check_layer, indices, numbers

NEIGHBORS = 4  # the largest distance between images that are aligned, as in Lucid and captum


@pytree
class Ramp(Objective):
    """One end of `channel_interpolate`: weights of images from 0 to 1, or 1 to 0 if `falling`."""

    index: Int[Leaf, ""] = field(rank=0)
    falling: bool = field(static=True)
    layer: str = field(role="layer")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        values = maps(activations, self.layer, None).mean((1, 2))
        weights = jnp.linspace(1.0, 0.0, values.shape[0]) if self.falling else jnp.linspace(0.0, 1.0, values.shape[0])
        return one_channel((values * weights[:, None]).sum(0), self.index)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_range(self.index, shapes[self.layer][-1], "channel", self.layer)
        _check_several(images, "channel_interpolate")

    def describe(self, task: int = 0) -> str:
        return f"{'falling' if self.falling else 'rising'} {self.layer}:{pick(self.index, task, 0)}"


@pytree
class Alignment(Objective):
    """The negative distance of neighboring images; see `alignment`."""

    decay_ratio: Float[Leaf, ""] = field(rank=0)
    layer: str = field(role="layer")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a, ratio = maps(activations, self.layer, None), jnp.asarray(self.decay_ratio)
        terms = [jnp.square(a[:-d] - a[d:]).mean((1, 2, 3)).sum() / ratio**d for d in range(1, min(NEIGHBORS + 1, a.shape[0]))]
        return -jnp.stack(terms).sum()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        _check_several(images, "alignment")

    def describe(self, task: int = 0) -> str:
        return f"alignment({self.layer})"


def _check_several(images: int, name: str) -> None:
    if images < 2:
        raise ValueError(f"{name} compares a task's images, but there is 1; see `param.image(batch=...)`.")


def channel_interpolate(layer1: Text, n_channel1: Wholes, layer2: Text, n_channel2: Wholes) -> Objective:
    """Way from one channel to another along a task's images.

    `sum_n (1 - w_n) a1[n] + w_n a2[n]`, `w_n = n / (B - 1)`. Use it with
    `param.image(..., batch=B)`, and with `alignment` or `param.aligned`, which make neighbors look
    alike.

    Args:
        layer1, n_channel1: what the first image shows; channels as in `channel`.
        layer2, n_channel2: what the last image shows.

    Example:
        >>> from jaxlens.optvis import objectives, param
        >>> way = objectives.channel_interpolate("mixed4a", 3, "mixed4b", 7)
        >>> way.layers
        ('mixed4a', 'mixed4b')
        >>> param.image(64, batch=6).shape  # six images from one to the other
        (6, 64, 64, 3)
    """
    for name, layer in (("layer1", layer1), ("layer2", layer2)):
        check_layer(layer, name)
    first = Ramp(index=indices(n_channel1, "n_channel1"), falling=True, layer=layer1)
    return first + Ramp(index=indices(n_channel2, "n_channel2"), falling=False, layer=layer2)


def alignment(layer: Text, decay_ratio: Numbers = 2.0) -> Objective:
    """Likeness of neighbors among a task's images; negative, so use a *positive* weight.

    `- sum_{d=1..4} sum_i mean((a_i - a_{i+d})**2) / decay_ratio**d`, as in Lucid and Lucent.

    Args:
        layer: name as in `model.layers`.
        decay_ratio: how much less two images count for each step more between them, above 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.alignment("mixed4a")
        >>> two = jnp.stack([jnp.zeros((4, 4, 8)), jnp.full((4, 4, 8), 3.0)])
        >>> float(objective({"mixed4a": two}))
        -4.5
    """
    return Alignment(decay_ratio=numbers(decay_ratio, "decay_ratio", above=0), layer=layer)


def combine(*groups: ObjectiveLike) -> list[Objective]:
    """List the sums of one objective from each group, for every combination.

    For pictures of neurons together. The last group counts fastest. Names are joined by " + ". As
    xplique's sums of lists.

    Args:
        *groups: objectives with any number of tasks, strings, or lists of these.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> pairs = objectives.combine("mixed4a:0-1", ["mixed4b:7", "mixed4b:9"])
        >>> [pair.describe() for pair in pairs][:3]
        ['mixed4a:0 + mixed4b:7', 'mixed4a:0 + mixed4b:9', 'mixed4a:1 + mixed4b:7']
    """
    if not groups:
        raise ValueError("groups is empty: give at least one objective.")
    return [Objective.sum(combination) for combination in itertools.product(*map(_tasks, groups))]


def _tasks(group: Any) -> list[Objective]:
    objective = as_objective(group)
    if isinstance(objective, list):
        return [task for each in objective for task in _tasks(each)]
    count = task_count(objective)
    return [objective] if count is None else [_task(objective, i) for i in range(count)]


def _task(objective: Objective, number: int) -> Objective:
    """Return one task of a batch, without the axis of tasks."""
    return rebuild(objective, lambda child: _task(child, number), lambda leaf, rank: np.asarray(pick(leaf, number, rank)))
