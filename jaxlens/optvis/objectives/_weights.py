"""Objectives that weigh channels: by a vector everywhere or in a window, by a tensor, by an angle."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlens._checks import check_int
from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import Activations, Objective
from jaxlens.optvis.objectives._layer import at, check_place, check_range, dot_cossim, maps
from jaxlens.optvis.objectives._values import indices, numbers


@pytree
class Weighted(Objective):
    """See `channel_weight` and `localgroup_weight`; a window of 0 pixels is the whole map."""

    weight: Float[Array, " c"] | None = field(rank=1, default=None)
    x: Int[Array, ""] | None = field(rank=0, default=None)
    y: Int[Array, ""] | None = field(rank=0, default=None)
    window: tuple[int, int] = field(static=True, default=(0, 0))
    layer: str = field(static=True)
    batch: int | None = field(static=True, default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.batch)
        for axis, start, size in ((1, self.y, self.window[0]), (2, self.x, self.window[1])):
            if size:
                first = a.shape[axis] // 2 - size // 2 if start is None else start
                offset = (jnp.arange(a.shape[axis]) - first).reshape([-1 if i == axis else 1 for i in range(4)])
                a = jnp.where((offset >= 0) & (offset < size), a, 0.0).sum(axis, keepdims=True) / size
        values = a.mean((0, 1, 2))
        return (values if self.weight is None else values * self.weight).mean()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        shape = shapes[self.layer]
        _check_vector(self.weight, shape, self.layer, "weight")
        check_place(self, shape)
        height, width = shape[:2] if len(shape) == 3 else (shape[0] if len(shape) == 2 else 1, 1)
        for name, start, size, count in (("wy", self.y, self.window[0], height), ("wx", self.x, self.window[1], width)):
            check_range(size, count + 1, name, self.layer)
            if size and start is not None:
                check_range(start + size - 1, count, f"the last pixel of {name}={size}", self.layer)

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:weights"


@pytree
class TensorDirection(Objective):
    """See `tensor_direction`."""

    vector: Float[Array, "h w c"] = field(rank=3)
    cossim_pow: Float[Array, ""] = field(rank=0)
    layer: str = field(static=True)
    batch: int | None = field(static=True, default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.batch)
        height, width = self.vector.shape[:2]
        top, left = (a.shape[1] - height) // 2, (a.shape[2] - width) // 2
        return dot_cossim(a[:, top : top + height, left : left + width], self.vector, self.cossim_pow)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        shape, own = shapes[self.layer], self.vector.shape[-3:]
        if len(shape) != 3 or own[2] != shape[2] or own[0] > shape[0] or own[1] > shape[1]:
            raise ValueError(f"vec has shape {own}, but layer {self.layer!r} has {shape}: give [h, w, C] that fits inside.")

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:tensor"


@pytree
class Cosine(Objective):
    """See `direction_cossim`."""

    vector: Float[Array, " c"] = field(rank=1)
    cossim_pow: Float[Array, ""] = field(rank=0)
    layer: str = field(static=True)
    batch: int | None = field(static=True, default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.batch)
        cosine = (a * self.vector.reshape(1, 1, 1, -1)).sum(-1) / (1e-4 + norm(a)) / (1e-4 + norm(self.vector))
        return (cosine * jnp.maximum(cosine, 0.1) ** self.cossim_pow).mean()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        _check_vector(self.vector, shapes[self.layer], self.layer, "vec")

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:cosine"


@pytree
class AngledNeuron(Objective):
    """See `angled_neuron_direction`."""

    vector: Float[Array, " c"] = field(rank=1)
    cossim_pow: Float[Array, ""] = field(rank=0)
    x: Int[Array, ""] | None = field(rank=0, default=None)
    y: Int[Array, ""] | None = field(rank=0, default=None)
    layer: str = field(static=True)
    batch: int | None = field(static=True, default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = at(maps(activations, self.layer, self.batch), self.x, self.y)
        dot = (a * self.vector[None]).mean(-1)
        return (dot * jnp.maximum(dot / (1e-4 + norm(a)), 0.1) ** self.cossim_pow).mean()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        _check_vector(self.vector, shapes[self.layer], self.layer, "vec")
        check_place(self, shapes[self.layer])

    def describe(self, task: int = 0) -> str:
        return f"{self.layer}:angled"


def norm(a: Float[Array, "*axes c"]) -> Float[Array, "*axes"]:
    """The norm over the last axis, with a floor below what any epsilon resolves: it has no gradient at 0."""
    return jnp.sqrt(jnp.maximum(jnp.square(a).sum(-1), 1e-12))


def _check_vector(vector: Any, shape: tuple[int, ...], layer: str, name: str) -> None:
    if vector is not None and vector.shape[-1] != shape[-1]:
        raise ValueError(f"{name} has {vector.shape[-1]} entries, but layer {layer!r} has {shape[-1]} channels.")


def channel_weight(layer: Any, weight: Any, batch: Any = None) -> Objective:
    """Channels weighed and averaged: the mean over images, positions *and* channels of `weight * a`.

    Args:
        layer, batch: as in `channel`.
        weight: `[C]`, or `[N, C]` for a batch of tasks.

    Lucent's formula: `C` times smaller than `direction(layer, weight)`, otherwise the same.
    """
    return Weighted(weight=numbers(weight, "weight", 1), layer=layer, batch=batch)


def neuron_weight(layer: Any, weight: Any = None, x: Any = None, y: Any = None, batch: Any = None) -> Objective:
    """`channel_weight` at one position, the centre by default; no weight is equal weights."""
    return localgroup_weight(layer, weight, x, y, 1, 1, batch)


def localgroup_weight(
    layer: Any, weight: Any = None, x: Any = None, y: Any = None, wx: Any = 1, wy: Any = 1, batch: Any = None
) -> Objective:
    """`channel_weight` in a window of `wx` columns and `wy` rows.

    Args:
        layer, batch: as in `channel`.
        weight: `[C]`, or `[N, C]` for a batch of tasks; equal weights by default.
        x, y: its first column and row; by default the window is central (Lucent then fails). One that reaches beyond the map
            is an error (Lucent cuts it off).
        wx, wy: its size.
    """
    return Weighted(
        weight=None if weight is None else numbers(weight, "weight", 1),
        x=None if x is None else indices(x, "x"),
        y=None if y is None else indices(y, "y"),
        window=(check_int(wy, "wy", low=1), check_int(wx, "wx", low=1)),
        layer=layer,
        batch=batch,
    )


def tensor_direction(layer: Any, vec: Any, cossim_pow: Any = 0.0, batch: Any = None) -> Objective:
    """`direction` with a vector of its own for each position.

    Args:
        layer, cossim_pow, batch: as in `direction`.
        vec: `[h, w, C]`, or `[N, h, w, C]` for a batch of tasks. Of a larger map the centre is compared.
    """
    return TensorDirection(
        vector=numbers(vec, "vec", 3), cossim_pow=numbers(cossim_pow, "cossim_pow"), layer=layer, batch=batch
    )


def spatial_channel(layer: Any, target_map: Any, cossim_pow: Any = 0.0, batch: Any = None) -> Objective:
    """Activations like a map `[H, W, C]`: at each position `a . map`, mean over positions; see `tensor_direction`.

    faccent's `spatial_channel` and, with `cossim_pow`, its `spatial_channel_cosim`.
    """
    return tensor_direction(layer, numbers(target_map, "target_map", 3), cossim_pow, batch)


def direction_cossim(layer: Any, vec: Any, cossim_pow: Any = 0.0, batch: Any = None) -> Objective:
    """The angle to a direction: the mean over positions of `cosine * max(0.1, cosine) ** cossim_pow`.

    Args:
        layer, vec, batch: as in `direction`.
        cossim_pow: more than 0 asks most for the positions that are aligned already.

    By default Lucent's `direction`. In Lucid this name is an alias of `direction`, whose default is the dot product.
    """
    return Cosine(vector=numbers(vec, "vec", 1), cossim_pow=numbers(cossim_pow, "cossim_pow"), layer=layer, batch=batch)


def angled_neuron_direction(
    layer: Any,
    vec: Any,
    S: Any = None,
    x: Any = None,
    y: Any = None,
    cossim_pow: Any = 4.0,
    batch: Any = None,
) -> Objective:
    """A direction at one position, whitened, with weight on the angle: how activation atlases are drawn.

    `d * max(0.1, d / (1e-4 + |a|)) ** cossim_pow`, with `d` the mean over channels of `a * (vec @ S)`.

    Args:
        layer, x, y, batch: as in `direction_neuron`.
        vec: `[C]`, or `[N, C]` for a batch of tasks.
        S: `[C, C]`, the inverse correlation of activations; none by default.
        cossim_pow: 4 in the atlases.

    Lucid's `direction_neuron_cossim_S` (activation atlas recipe) and captum's `AngledNeuronDirection`. As there, d is not
    divided by the length of `vec @ S`.
    """
    vector = numbers(vec, "vec", 1)
    if S is not None:
        square = numbers(S, "S", 2)
        if square.shape != (vector.shape[-1],) * 2:
            raise ValueError(f"S has shape {square.shape}, but vec has {vector.shape[-1]} entries: a square matrix is needed.")
        vector = jnp.matmul(vector, square, precision="highest")
    return AngledNeuron(
        vector=vector,
        cossim_pow=numbers(cossim_pow, "cossim_pow"),
        x=None if x is None else indices(x, "x"),
        y=None if y is None else indices(y, "y"),
        layer=layer,
        batch=batch,
    )
