"""Objectives on a task's images as a set, and sets of objectives."""

import itertools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import Activations, Objective, pick, rebuild, task_count
from jaxlens.optvis.objectives._layer import check_range, maps, one_channel
from jaxlens.optvis.objectives._parse import as_objective
from jaxlens.optvis.objectives._values import check_layer, indices, numbers

NEIGHBOURS = 4  # how far apart images are aligned, in Lucid and captum


@pytree
class Ramp(Objective):
    """One end of `channel_interpolate`: images weigh 0 to 1, or 1 to 0 if `falling`."""

    index: Int[Array, ""] = field(rank=0)
    falling: bool = field(static=True)
    layer: str = field(static=True)

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
    """See `alignment`."""

    decay_ratio: Float[Array, ""] = field(rank=0)
    layer: str = field(static=True)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, None)
        terms = [
            jnp.square(a[:-d] - a[d:]).mean((1, 2, 3)).sum() / self.decay_ratio**d
            for d in range(1, min(NEIGHBOURS + 1, a.shape[0]))
        ]
        return -jnp.stack(terms).sum()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        _check_several(images, "alignment")

    def describe(self, task: int = 0) -> str:
        return f"alignment({self.layer})"


def _check_several(images: int, name: str) -> None:
    if images < 2:
        raise ValueError(f"{name} compares a task's images, but there is 1; see `param.image(batch=...)`.")


def channel_interpolate(layer1: Any, n_channel1: Any, layer2: Any, n_channel2: Any) -> Objective:
    """From one channel to another along a task's images: `sum_n (1 - w_n) a1[n] + w_n a2[n]`, `w_n = n / (B - 1)`.

    Args:
        layer1, n_channel1: what the first image shows; channels as in `channel`.
        layer2, n_channel2: what the last one shows.

    Use it with `param.image(..., batch=B)`, and with `alignment` or `param.aligned` so that neighbours look alike.
    """
    for name, layer in (("layer1", layer1), ("layer2", layer2)):
        check_layer(layer, name)
    first = Ramp(index=indices(n_channel1, "n_channel1"), falling=True, layer=layer1)
    return first + Ramp(index=indices(n_channel2, "n_channel2"), falling=False, layer=layer2)


def alignment(layer: Any, decay_ratio: Any = 2.0) -> Objective:
    """How alike neighbours among a task's images are; negative, so use a *positive* weight, as in Lucid and Lucent.

    `- sum_{d=1..4} sum_i mean((a_i - a_{i+d})**2) / decay_ratio**d`.

    Args:
        layer: name as in `model.layers`.
        decay_ratio: how much less images count that are one step further apart.
    """
    return Alignment(decay_ratio=numbers(decay_ratio, "decay_ratio", above=0), layer=layer)


def combine(*groups: Any) -> list[Objective]:
    """Sums of one objective from each group, for every combination: pictures of neurons together.

    `combine(channel("mixed4a", range(3)), channel("mixed4a", [7, 9]))` are 6 objectives, the last group counted fastest.
    Names are joined by " + ". As xplique's sums of lists.

    Args:
        *groups: objectives with any number of tasks, strings, or lists of these.
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
    return rebuild(objective, lambda child: _task(child, number), lambda leaf, rank: jnp.asarray(pick(leaf, number, rank)))
