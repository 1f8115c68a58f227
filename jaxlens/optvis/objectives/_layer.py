"""Objectives on what a layer outputs."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import Activations, Objective, pick
from jaxlens.optvis.objectives._values import indices, numbers


def maps(activations: Activations, layer: str, batch: int | None) -> Float[Array, "b h w c"]:
    """A layer's output as `[B, H, W, C]`: vectors become one position, tokens a column of positions."""
    a = activations[layer]
    if batch is not None:
        a = a[batch : batch + 1]
    return a if a.ndim == 4 else a.reshape(a.shape[0], -1, 1, a.shape[-1])


def one_channel(values: Float[Array, " c"], index: Int[Array, ""]) -> Float[Array, ""]:
    # A masked sum, not an indexing: its gradient is a broadcast where a gather's is a slow scatter.
    return jnp.where(jnp.arange(values.shape[0]) == index, values, 0.0).sum()


@pytree
class Channel(Objective):
    """See `channel`."""

    index: Int[Array, ""] = field(rank=0)
    layer: str = field(static=True)
    batch: int | None = field(static=True, default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return one_channel(maps(activations, self.layer, self.batch).mean((0, 1, 2)), self.index)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_range(self.index, shapes[self.layer][-1], "channel", self.layer)

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:{pick(self.index, task, 0)}"


@pytree
class Neuron(Objective):
    """See `neuron`."""

    index: Int[Array, ""] = field(rank=0)
    x: Int[Array, ""] | None = field(rank=0, default=None)
    y: Int[Array, ""] | None = field(rank=0, default=None)
    layer: str = field(static=True)
    batch: int | None = field(static=True, default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return one_channel(at(maps(activations, self.layer, self.batch), self.x, self.y).mean(0), self.index)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_range(self.index, shapes[self.layer][-1], "channel", self.layer)
        check_place(self, shapes[self.layer])

    def describe(self, task: int = 0) -> str:
        place = ",".join("centre" if v is None else str(pick(v, task, 0)) for v in (self.x, self.y))
        return f"{self.layer}:{pick(self.index, task, 0)}@{place}"


def check_range(values: Any, count: int, what: str, layer: str) -> None:
    """Raises for values outside `0..count - 1`, which JAX would clamp to the nearest one."""
    bad = [int(v) for v in np.atleast_1d(np.asarray(values)) if not 0 <= v < count]
    if bad:
        shown = str(bad[0]) if len(bad) == 1 else f"{bad[:8]}"
        raise ValueError(f"{what}={shown} is outside 0..{count - 1} of layer {layer!r}.")


def check_place(objective: Any, shape: tuple[int, ...]) -> None:
    """Raises for a position outside of the layer's map."""
    height, width = shape[:2] if len(shape) == 3 else (shape[0] if len(shape) == 2 else 1, 1)
    for value, count, what in ((objective.x, width, "x"), (objective.y, height, "y")):
        if value is not None:
            check_range(value, count, what, objective.layer)


def at(a: Float[Array, "b h w c"], x: Any, y: Any) -> Float[Array, "b c"]:
    """The activations at one position, the centre by default."""
    row = jnp.arange(a.shape[1]) == (a.shape[1] // 2 if y is None else y)
    column = jnp.arange(a.shape[2]) == (a.shape[2] // 2 if x is None else x)
    return jnp.where((row[:, None] & column[None, :])[None, :, :, None], a, 0.0).sum((1, 2))


@pytree
class Direction(Objective):
    """See `direction` and `direction_neuron`."""

    vector: Float[Array, " c"] = field(rank=1)
    cossim_pow: Float[Array, ""] = field(rank=0)
    x: Int[Array, ""] | None = field(rank=0, default=None)
    y: Int[Array, ""] | None = field(rank=0, default=None)
    layer: str = field(static=True)
    neuron: bool = field(static=True, default=False)
    batch: int | None = field(static=True, default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.batch)
        return dot_cossim(at(a, self.x, self.y) if self.neuron else a, self.vector, self.cossim_pow)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        channels = shapes[self.layer][-1]
        if self.vector.shape[-1] != channels:
            raise ValueError(f"vec has {self.vector.shape[-1]} entries, but layer {self.layer!r} has {channels} channels.")
        if self.neuron:
            check_place(self, shapes[self.layer])

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:direction"


def dot_cossim(a: Float[Array, "... c"], vector: Float[Array, "*hw c"], power: Float[Array, ""]) -> Float[Array, ""]:
    """Lucid's `_dot_cossim`: the mean of `d * max(0.1, d / (|a| |v|)) ** power`, `d = a . v`, eps 1e-4 per norm.

    The vector is one for all positions, or one for each.
    """
    if vector.ndim == 1:
        dot = jnp.dot(a, vector, precision=jax.lax.Precision.HIGHEST)
    else:
        vector = vector[None]
        dot = (a * vector).sum(-1)
    square = jnp.square(a).sum(-1)
    # Dead activations are common, and the norm has no gradient at 0: floor it below what eps resolves.
    norm = jnp.sqrt(jnp.maximum(square, 1e-12))
    cosine = dot / (1e-4 + norm) / (1e-4 + jnp.linalg.norm(vector, axis=-1))  # eps: lucid/optvis/objectives.py
    return (dot * jnp.maximum(cosine, 0.1) ** power).mean()


@pytree
class DeepDream(Objective):
    """See `deepdream`."""

    layer: str = field(static=True)
    batch: int | None = field(static=True, default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.square(maps(activations, self.layer, self.batch)).mean()

    def describe(self, task: int = 0) -> str:
        return f"deepdream({self.layer})"


@pytree
class Diversity(Objective):
    """See `diversity`."""

    layer: str = field(static=True)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, None)
        flat = a.reshape(a.shape[0], -1, a.shape[-1])
        gram = jnp.einsum("bpc,bpd->bcd", flat, flat, precision=jax.lax.Precision.HIGHEST)
        # tf.nn.l2_normalize's floor, on the square of the norm.
        gram = gram * jax.lax.rsqrt(jnp.maximum(jnp.square(gram).sum((1, 2), keepdims=True), 1e-10))
        similarity = jnp.einsum("icd,jcd->ij", gram, gram, precision=jax.lax.Precision.HIGHEST)
        return (similarity.sum() - jnp.trace(similarity)) / a.shape[0]

    def describe(self, task: int = 0) -> str:
        return f"diversity({self.layer})"


@pytree
class ClassLogit(Objective):
    """See `class_logit` and `class_probability`; before the model, and so the labels, are known."""

    names: tuple[str, ...] = field(static=True)
    single: bool = field(static=True)
    layer: str = field(static=True)
    batch: int | None = field(static=True, default=None)
    probability: bool = field(static=True, default=False)

    def bind(self, model: Any) -> Objective:
        found = [model.label_index(name) for name in self.names]
        of_number = class_probability if self.probability else channel
        return of_number(self.layer, found[0] if self.single else found, batch=self.batch).bind(model)

    def describe(self, task: int = 0) -> str:
        return f"probability of {self.names[task]}" if self.probability else self.names[task]


@pytree
class ClassProbability(Objective):
    """See `class_probability`."""

    index: Int[Array, ""] = field(rank=0)
    layer: str = field(static=True)
    batch: int | None = field(static=True, default=None)

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


def channel(layer: Any, n_channel: Any, batch: Any = None) -> Objective:
    """A channel's mean activation over images and positions.

    Args:
        layer: name as in `model.layers`.
        n_channel: the channel, or a list, range or array of channels for a batch of tasks.
        batch: only this one of a task's images.
    """
    return Channel(index=indices(n_channel, "n_channel"), layer=layer, batch=batch)


def neuron(layer: Any, n_channel: Any, x: Any = None, y: Any = None, batch: Any = None) -> Objective:
    """One neuron: a channel at one position, mean over images.

    Args:
        layer, n_channel, batch: as in `channel`.
        x, y: column and row; the centre by default (`W // 2`, `H // 2`). Lucid calls the row `x`, and
            Lucent takes the centre of the wrong axis for non-square images.
    """
    place = {k: None if v is None else indices(v, k) for k, v in (("x", x), ("y", y))}
    return Neuron(index=indices(n_channel, "n_channel"), layer=layer, batch=batch, **place)


def direction(layer: Any, vec: Any, cossim_pow: Any = 0.0, batch: Any = None) -> Objective:
    """Activation along a direction in channel space, mean of `dot * max(0.1, cosine) ** cossim_pow` over positions.

    Args:
        layer, batch: as in `channel`.
        vec: `[C]`, or `[N, C]` for a batch of tasks.
        cossim_pow: 0 is the plain dot product (Lucid's default); larger asks for the angle more than
            for the size. Lucent's `direction` is the cosine alone.
    """
    return _direction(layer, vec, cossim_pow, batch=batch)


def direction_neuron(layer: Any, vec: Any, x: Any = None, y: Any = None, cossim_pow: Any = 0.0, batch: Any = None) -> Objective:
    """`direction` at one position, as `neuron` is `channel` at one position."""
    place = {k: None if v is None else indices(v, k) for k, v in (("x", x), ("y", y))}
    return _direction(layer, vec, cossim_pow, batch=batch, neuron=True, **place)


def _direction(layer: Any, vec: Any, cossim_pow: Any, **options: Any) -> Objective:
    return Direction(vector=numbers(vec, "vec", 1), cossim_pow=numbers(cossim_pow, "cossim_pow"), layer=layer, **options)


def deepdream(layer: Any, batch: Any = None) -> Objective:
    """Everything a layer sees, more of it: the mean of its squared activations."""
    return DeepDream(layer=layer, batch=batch)


def diversity(layer: Any) -> Objective:
    """How alike a task's images are, in Gram matrices of a layer; use a negative weight.

    With `G_i` the L2-normalised Gram matrix of image i, `sum over i, j != i of <G_i, G_j> / B`. Use it with
    `param.image(..., batch=B)`: `channel(...) - 1e2 * diversity(...)`, as in Lucid and Lucent.
    """
    return Diversity(layer=layer)


def class_logit(layer: Any, label: Any, batch: Any = None) -> Objective:
    """A class's logit, before the softmax, by number or by label; mean over images (Lucid sums).

    Args:
        layer: "logits", or "labels" as Lucid calls it.
        label: a class number, a label of `model.labels`, or several of one kind for a batch of tasks.
        batch: as in `channel`.
    """
    named = _named_class(layer, label, batch)
    return named or Channel(index=indices(label, "label"), layer=layer, batch=batch)


def class_probability(layer: Any, label: Any, batch: Any = None) -> Objective:
    """A class's share of the softmax over all classes, by number or by label; mean over images and positions.

    It saturates, so that its gradient vanishes where the network is sure: optimise `class_logit`, measure with this.

    Args:
        layer: "logits", or any layer whose channels are what the softmax is taken over.
        label, batch: as in `class_logit`.
    """
    named = _named_class(layer, label, batch, probability=True)
    return named or ClassProbability(index=indices(label, "label"), layer=layer, batch=batch)


def _named_class(layer: Any, label: Any, batch: Any, probability: bool = False) -> ClassLogit | None:
    """The class of that label, or the classes of those; None for numbers."""
    names = (label,) if isinstance(label, str) else label
    names = names.tolist() if isinstance(names, np.ndarray) and names.ndim == 1 else names
    if not (isinstance(names, tuple | list) and names and all(isinstance(name, str) for name in names)):
        return None
    return ClassLogit(
        names=tuple(map(str, names)), single=isinstance(label, str), batch=batch, layer=layer, probability=probability
    )
