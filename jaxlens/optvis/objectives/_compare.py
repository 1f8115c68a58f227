"""Objectives that compare an image's activations with those of another, position by position: caricatures, guides."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import check_int
from jaxlens._numerics import absolute
from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import Activations, Objective
from jaxlens.optvis.objectives._layer import check_range, maps
from jaxlens.optvis.objectives._values import as_numbers, numbers
from jaxlens.optvis.objectives._weights import norm


@pytree
class Compare(Objective):
    """See `dot_compare`, `weighted_dot_compare`, `cossim_compare`, `pearson_compare`, `l1_compare` and `l2_compare`."""

    target: Float[Array, "h w c"] | None = field(rank=3, default=None)
    weight: Float[Array, "h w c"] | None = field(rank=3, default=None)
    feature: Float[Array, " c"] | None = field(rank=1, default=None)
    cossim_pow: Float[Array, ""] = field(rank=0)
    measure: str = field(static=True)
    layer: str = field(static=True)
    batch: int = field(static=True)
    comp_batch: int = field(static=True)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.comp_batch)[0]
        b = maps(activations, self.layer, self.batch)[0] if self.target is None else self.target
        if self.measure == "l1":
            return absolute(a - b).mean()
        if self.measure == "l2":
            return norm(a - b).mean()
        if self.weight is not None:
            return (a * b * self.weight).sum()
        if self.feature is not None:
            a, b = _without(a, self.feature), _without(b, self.feature)
        if self.measure == "pearson":
            a, b = a - a.mean(), b - b.mean()
        dot, size = (a * b).sum(), norm(a.reshape(-1)) * norm(b.reshape(-1))
        cosine = dot / (1e-6 + size)
        return cosine if self.measure in ("cosine", "pearson") else dot * jnp.maximum(cosine, 0.1) ** self.cossim_pow

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        if self.target is None:
            super().check(shapes, images)
        check_target(self.target, shapes[self.layer], self.layer)
        own = () if self.weight is None else self.weight.shape[-3:]
        if own and any(n not in (1, m) for n, m in zip(own, _map_shape(shapes[self.layer]), strict=True)):
            raise ValueError(f"W has shape {own}, but layer {self.layer!r} outputs {shapes[self.layer]} at this size.")
        if self.feature is not None:
            check_channels(self.feature, shapes[self.layer], self.layer, "orthogonal_to")
        check_range(self.comp_batch, images, "comp_batch", self.layer)

    def describe(self, task: int = 0) -> str:
        return f"{self.measure}({self.layer})"


@pytree
class Guide(Objective):
    """See `guide`."""

    target: Float[Array, "h w c"] = field(rank=3)
    layer: str = field(static=True)
    batch: int | None = field(static=True, default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.batch)
        theirs = self.target.reshape(-1, self.target.shape[-1])
        dots = jnp.einsum("bhwc,pc->bhwp", a, theirs, precision="highest")
        return dots.max(-1).mean()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        check_channels(self.target, shapes[self.layer], self.layer)

    def describe(self, task: int = 0) -> str:
        return f"guide({self.layer})"


def _without(a: Float[Array, "h w c"], feature: Float[Array, " c"]) -> Float[Array, "h w c"]:
    """The part of each position's activations that is orthogonal to a direction."""
    along = feature / (1e-6 + norm(feature))
    return a - (a * along[None, None]).sum(-1, keepdims=True) * along[None, None]


def check_target(target: Any, shape: tuple[int, ...], layer: str) -> None:
    if target is None:
        return
    own = target.shape[-3:]
    wanted = _map_shape(shape)
    if own[2] != wanted[2] or (len(shape) == 3 and own != shape):
        raise ValueError(
            f"target has shape {own}, but layer {layer!r} outputs {shape} at this size: take the target from an image of the "
            "size that the network sees, or give `fixed_image_size`."
        )


def check_channels(target: Any, shape: tuple[int, ...], layer: str, name: str = "target") -> None:
    """Refuses a target with another number of channels than the layer."""
    if target.shape[-1] != shape[-1]:
        raise ValueError(f"The {name} has {target.shape[-1]} channels, but {layer!r} has {shape[-1]}.")


def _map_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The (h, w, C) that objectives see of a layer's output: vectors are one position, tokens a column."""
    return shape if len(shape) == 3 else (shape[0] if len(shape) == 2 else 1, 1, shape[-1])


def as_target(value: Any, name: str) -> Float[Array, "..."]:
    """A target as `[h, w, C]`, or `[N, h, w, C]`; vectors become one position."""
    array = as_numbers(value, name, "activations [h, w, C]")
    return numbers(array.reshape(1, 1, -1) if array.ndim == 1 else array, name, 3)


def dot_compare(layer: Any, batch: Any = 1, cossim_pow: Any = 0.0, comp_batch: Any = 0, *, target: Any = None) -> Objective:
    """How much an image's activations point along another's: `d * max(0.1, cosine) ** cossim_pow`, `d = <A, B>`: a caricature.

    Args:
        layer: name as in `model.layers`.
        batch, comp_batch: which of a task's images are compared, B and A; the gradient reaches both.
        cossim_pow: 0 is the dot product alone; larger keeps the direction while the size grows.
        target: activations `[h, w, C]` that take the place of image `batch`, or `[N, h, w, C]` for a batch of tasks.

    The sums run over positions and channels. Lucid divides by one of the two norms only, so that its "cosine" may be
    any number; here it is the cosine.
    """
    power = numbers(cossim_pow, "cossim_pow")
    return _compare("dot", layer, batch, comp_batch, target, cossim_pow=power)


def cossim_compare(
    layer: Any, batch: Any = 1, comp_batch: Any = 0, *, target: Any = None, orthogonal_to: Any = None
) -> Objective:
    """The cosine between two images' activations, as one long vector each.

    Args:
        layer, batch, comp_batch, target: as in `dot_compare`.
        orthogonal_to: a direction `[C]` that is taken out of both first, or `[N, C]` for a batch of tasks: so that
            `direction(layer, v, batch=0) * cossim_compare(layer, orthogonal_to=v)` changes v and keeps the rest. faccent's
            `dot_seperate_cossim_compare`; with `pearson_compare`, its `dot_seperate_pearson_compare`.
    """
    return _compare("cosine", layer, batch, comp_batch, target, feature=_feature(orthogonal_to))


def pearson_compare(
    layer: Any, batch: Any = 1, comp_batch: Any = 0, *, target: Any = None, orthogonal_to: Any = None
) -> Objective:
    """The correlation between two images' activations: the cosine after each one's mean is taken away.

    Arguments as in `cossim_compare`.
    """
    return _compare("pearson", layer, batch, comp_batch, target, feature=_feature(orthogonal_to))


def _feature(value: Any) -> Array | None:
    return None if value is None else numbers(value, "orthogonal_to", 1)


def weighted_dot_compare(layer: Any, batch: Any = 1, W: Any = 1.0, comp_batch: Any = 0, *, target: Any = None) -> Objective:
    """`sum A B W`: a caricature of what some numbers say is important, such as the gradient of a neuron at the layer.

    Args:
        layer, batch, comp_batch, target: as in `dot_compare`.
        W: a number, `[C]` or `[h, w, C]` (axes of size 1 serve all positions); `[N, h, w, C]` for a batch of tasks.

    Lucid's notebook on decomposed feature visualization. `attribution_compare` finds the weights itself.
    """
    weight = as_numbers(W, "W", "numbers [h, w, C]")
    weight = as_target(weight.reshape(1) if weight.ndim == 0 else weight, "W")
    return _compare("weighted", layer, batch, comp_batch, target, weight=weight)


def l1_compare(layer: Any, batch: Any = 1, comp_batch: Any = 0, *, target: Any = None) -> Objective:
    """`mean |A - B|`; use a negative weight. Arguments as in `dot_compare`. (faccent's returns it negated.)"""
    return _compare("l1", layer, batch, comp_batch, target)


def l2_compare(layer: Any, batch: Any = 1, comp_batch: Any = 0, *, target: Any = None) -> Objective:
    """The mean over positions of the distance over channels `|A - B|_2`; use a negative weight. faccent negates it."""
    return _compare("l2", layer, batch, comp_batch, target)


def _compare(measure: str, layer: Any, batch: Any, comp_batch: Any, target: Any, **options: Any) -> Objective:
    options.setdefault("cossim_pow", jnp.float32(0))
    batch, comp_batch = check_int(batch, "batch", low=0), check_int(comp_batch, "comp_batch", low=0)
    if target is None and batch == comp_batch and measure in ("l1", "l2", "cosine", "pearson"):
        raise ValueError(f"batch={batch} and comp_batch={comp_batch} are one image, which never differs from itself.")
    target = None if target is None else as_target(target, "target")
    return Compare(
        measure=measure,
        layer=layer,
        batch=batch,
        comp_batch=comp_batch,
        target=None if target is None else as_target(target, "target"),
        **options,
    )


def guide(layer: Any, target: Any, batch: Any = None) -> Objective:
    """Activations like those of another image, wherever they are in it: `mean_p max_q <a_p, t_q>` over positions.

    Args:
        layer, batch: as in `channel`.
        target: `[h, w, C]` activations of an image of any size, or `[N, h, w, C]` for a batch of tasks.

    The guided deep dream of Mordvintsev et al. 2015.
    """
    return Guide(target=as_target(target, "target"), layer=layer, batch=batch)
