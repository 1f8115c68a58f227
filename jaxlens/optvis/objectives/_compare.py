"""Objectives that compare activations with another image's: caricatures, guides."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import check_int
from jaxlens._numerics import absolute
from jaxlens._pytree import field, pytree
from jaxlens._types import Text, Whole
from jaxlens.optvis.objectives._activations import map_shape, maps, norm
from jaxlens.optvis.objectives._base import Activations, Objective
from jaxlens.optvis.objectives._types import Numbers, Values
from jaxlens.optvis.objectives._values import Leaf, as_numbers, numbers

Measure = Callable[[Any, Any, Any, Any], Array]


def _dot(a: Any, b: Any, weight: Any, power: Any) -> Array:
    dot, cosine = _dot_and_cosine(a, b)
    return dot * jnp.maximum(cosine, 0.1) ** power


def _weighted(a: Any, b: Any, weight: Any, power: Any) -> Array:
    return (a * b * weight).sum()


def _cosine(a: Any, b: Any, weight: Any, power: Any) -> Array:
    return _dot_and_cosine(a, b)[1]


def _pearson(a: Any, b: Any, weight: Any, power: Any) -> Array:
    return _dot_and_cosine(a - a.mean(), b - b.mean())[1]


def _l1(a: Any, b: Any, weight: Any, power: Any) -> Array:
    return absolute(a - b).mean()


def _l2(a: Any, b: Any, weight: Any, power: Any) -> Array:
    return norm(a - b).mean()


# By name, `(a, b, weight, power) -> score` of two maps [h, w, C].
MEASURES: dict[str, Measure] = {
    "dot": _dot,
    "weighted": _weighted,
    "cosine": _cosine,
    "pearson": _pearson,
    "l1": _l1,
    "l2": _l2,
}
DISTANCES = ("l1", "l2", "cosine", "pearson")  # which say nothing of an image and itself


def _dot_and_cosine(a: Float[Array, "..."], b: Float[Array, "..."]) -> tuple[Array, Array]:
    """Return the dot product of two maps, and their cosine as vectors."""
    dot, size = (a * b).sum(), norm(a.reshape(-1)) * norm(b.reshape(-1))
    return dot, dot / (1e-6 + size)


@pytree
class Compare(Objective):
    """A measure of two images' activations, or of one image's and a target; see `MEASURES`."""

    target: Float[Leaf, "h w c"] | None = field(rank=3, default=None)
    weight: Float[Leaf, "h w c"] | None = field(rank=3, default=None)
    feature: Float[Leaf, " c"] | None = field(rank=1, default=None)
    cossim_pow: Float[Leaf, ""] = field(rank=0)
    measure: str = field(static=True)
    layer: str = field(role="layer")
    batch: int | None = field(role="image")  # None where the target takes its place
    comp_batch: int = field(role="image")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, self.comp_batch)[0]
        b = maps(activations, self.layer, self.batch)[0] if self.target is None else jnp.asarray(self.target)
        if self.feature is not None:
            a, b = _without(a, self.feature), _without(b, self.feature)
        return MEASURES[self.measure](a, b, self.weight, self.cossim_pow)

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        shape = shapes[self.layer]
        check_target(self.target, shape, self.layer)
        own = () if self.weight is None else self.weight.shape[-3:]
        if own and any(n not in (1, m) for n, m in zip(own, map_shape(shape), strict=True)):
            raise ValueError(f"W has shape {own}, but layer {self.layer!r} outputs {shape} at this size.")
        if self.feature is not None:
            check_channels(self.feature, shape, self.layer, "orthogonal_to")

    def describe(self, task: int = 0) -> str:
        return f"{self.measure}({self.layer})"


@pytree
class Guide(Objective):
    """Likeness of activations to another image's, wherever they are in it; see `guide`."""

    target: Float[Leaf, "h w c"] = field(rank=3)
    layer: str = field(role="layer")
    batch: int | None = field(role="image", default=None)

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


def _without(a: Float[Array, "h w c"], feature: Float[Leaf, " c"]) -> Float[Array, "h w c"]:
    """Return the part of each position's activations that is orthogonal to a direction."""
    along = feature / (1e-6 + norm(feature))
    return a - (a * along[None, None]).sum(-1, keepdims=True) * along[None, None]


def check_target(target: Any, shape: tuple[int, ...], layer: str) -> None:
    """Raise for a target (or None) of another shape than the layer's output."""
    if target is None:
        return
    own = target.shape[-3:]
    if own[2] != map_shape(shape)[2] or (len(shape) == 3 and own != shape):
        raise ValueError(
            f"target has shape {own}, but layer {layer!r} outputs {shape} at this size: take the target from an image of the "
            "size that the network sees, or give `fixed_image_size`."
        )


def check_channels(target: Any, shape: tuple[int, ...], layer: str, name: str = "target") -> None:
    """Raise for a target with another number of channels than the layer."""
    if target.shape[-1] != shape[-1]:
        raise ValueError(f"The {name} has {target.shape[-1]} channels, but {layer!r} has {shape[-1]}.")


def as_activations(value: Any, name: str) -> Float[Leaf, "..."]:
    """Return a target as `[h, w, C]`, or `[N, h, w, C]`; vectors become one position."""
    array = as_numbers(value, name, "activations [h, w, C]")
    return numbers(array.reshape(1, 1, -1) if array.ndim == 1 else array, name, 3)


def dot_compare(
    layer: Text,
    batch: Whole = 1,
    cossim_pow: Numbers = 0.0,
    comp_batch: Whole = 0,
    *,
    target: Values | None = None,
) -> Objective:
    """Dot product of two images' activations: a caricature.

    `d * max(0.1, cosine) ** cossim_pow` with `d = <A, B>`. The sums run over positions and
    channels. Lucid divides by one of the two norms only, and its "cosine" may be any number; here
    it is the cosine.

    Args:
        layer: name as in `model.layers`.
        batch, comp_batch: which of a task's images are compared, B and A; the gradient reaches
            both.
        cossim_pow: 0 is the dot product alone. A larger power keeps the direction while the size
            grows.
        target: activations `[h, w, C]` in the place of image `batch`, or `[N, h, w, C]` for a batch
            of tasks.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> photo = jnp.ones((4, 4, 8))  # activations of a photograph
        >>> objective = objectives.dot_compare("mixed4a", cossim_pow=1, target=photo)
        >>> round(float(objective({"mixed4a": jnp.full((1, 4, 4, 8), 2.0)})), 2)
        256.0
    """
    power = numbers(cossim_pow, "cossim_pow")
    return _compare("dot", layer, batch, comp_batch, target, cossim_pow=power)


def cossim_compare(
    layer: Text,
    batch: Whole = 1,
    comp_batch: Whole = 0,
    *,
    target: Values | None = None,
    orthogonal_to: Values | None = None,
) -> Objective:
    """Cosine between two images' activations, each as one long vector.

    Args:
        layer, batch, comp_batch, target: as in `dot_compare`.
        orthogonal_to: a direction `[C]` that is first taken out of both, or `[N, C]` for a batch of
            tasks: `direction(layer, v, batch=0) * cossim_compare(layer, orthogonal_to=v)` changes v
            and keeps the rest. faccent's `dot_seperate_cossim_compare`; with `pearson_compare`, its
            `dot_seperate_pearson_compare`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.cossim_compare("mixed4a")  # of images 0 and 1 of the task
        >>> two = jnp.stack([jnp.ones((4, 4, 8)), jnp.full((4, 4, 8), 3.0)])
        >>> round(float(objective({"mixed4a": two})), 4)
        1.0
    """
    return _compare("cosine", layer, batch, comp_batch, target, feature=_feature(orthogonal_to))


def pearson_compare(
    layer: Text,
    batch: Whole = 1,
    comp_batch: Whole = 0,
    *,
    target: Values | None = None,
    orthogonal_to: Values | None = None,
) -> Objective:
    """Correlation between two images' activations: the cosine after each mean is taken away.

    Args:
        layer, batch, comp_batch, target, orthogonal_to: as in `cossim_compare`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.pearson_compare("logits")
        >>> logits = jnp.array([[1.0, 2.0, 3.0], [30.0, 20.0, 10.0]])  # of two images
        >>> round(float(objective({"logits": logits})), 4)
        -1.0
    """
    return _compare("pearson", layer, batch, comp_batch, target, feature=_feature(orthogonal_to))


def _feature(value: Any) -> Leaf | None:
    return None if value is None else numbers(value, "orthogonal_to", 1)


def weighted_dot_compare(
    layer: Text,
    batch: Whole = 1,
    W: Values = 1.0,
    comp_batch: Whole = 0,
    *,
    target: Values | None = None,
) -> Objective:
    """Weighted dot product of two images' activations, `sum A B W`.

    A caricature of what the weights say is important, such as the gradient of a neuron at the
    layer. From Lucid's notebook on decomposed feature visualization. `attribution_compare` finds
    the weights itself.

    Args:
        layer, batch, comp_batch, target: as in `dot_compare`.
        W: a number, `[C]` or `[h, w, C]` (axes of size 1 serve all positions); `[N, h, w, C]` for a
            batch of tasks.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.weighted_dot_compare("mixed4a", W=[1.0, 0.5])
        >>> float(objective({"mixed4a": jnp.ones((2, 4, 4, 2))}))
        24.0
    """
    weight = as_numbers(W, "W", "numbers [h, w, C]")
    weight = as_activations(weight.reshape(1) if weight.ndim == 0 else weight, "W")
    return _compare("weighted", layer, batch, comp_batch, target, weight=weight)


def l1_compare(layer: Text, batch: Whole = 1, comp_batch: Whole = 0, *, target: Values | None = None) -> Objective:
    """Mean absolute difference of two images' activations, `mean |A - B|`; use a negative weight.

    faccent's function returns it negated.

    Args:
        layer, batch, comp_batch, target: as in `dot_compare`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> distance = objectives.l1_compare("logits")
        >>> float(distance({"logits": jnp.array([[1.0, 2.0], [3.0, 6.0]])}))
        3.0
    """
    return _compare("l1", layer, batch, comp_batch, target)


def l2_compare(layer: Text, batch: Whole = 1, comp_batch: Whole = 0, *, target: Values | None = None) -> Objective:
    """Mean over positions of the distance over channels, `|A - B|_2`; use a negative weight.

    faccent's function returns it negated.

    Args:
        layer, batch, comp_batch, target: as in `dot_compare`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> distance = objectives.l2_compare("mixed4a", target=jnp.zeros((4, 4, 2)))
        >>> float(distance({"mixed4a": jnp.ones((1, 4, 4, 2)) * jnp.array([3.0, 4.0])}))
        5.0
    """
    return _compare("l2", layer, batch, comp_batch, target)


def _compare(measure: str, layer: Any, batch: Any, comp_batch: Any, target: Any, **options: Any) -> Objective:
    # Every measure has the leaf of the power: the random draws of a render follow from the leaves.
    options.setdefault("cossim_pow", numbers(0, "cossim_pow"))
    batch, comp_batch = check_int(batch, "batch", low=0), check_int(comp_batch, "comp_batch", low=0)
    if target is None and batch == comp_batch and measure in DISTANCES:
        raise ValueError(f"batch={batch} and comp_batch={comp_batch} are one image, which never differs from itself.")
    if target is not None:
        batch, options["target"] = None, as_activations(target, "target")
    return Compare(measure=measure, layer=layer, batch=batch, comp_batch=comp_batch, **options)


def guide(layer: Text, target: Values, batch: Whole | None = None) -> Objective:
    """Likeness of activations to another image's, wherever they are in it: a guided deep dream.

    `mean_p max_q <a_p, t_q>` over positions (Mordvintsev et al. 2015).

    Args:
        layer, batch: as in `channel`.
        target: `[h, w, C]`, activations of an image of any size, or `[N, h, w, C]` for a batch of
            tasks.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> theirs = jnp.zeros((6, 9, 2)).at[2, 7].set(4.0)  # one place of theirs is active
        >>> objective = objectives.guide("mixed4a", theirs)
        >>> float(objective({"mixed4a": jnp.ones((1, 4, 4, 2))}))
        8.0
    """
    return Guide(target=as_activations(target, "target"), layer=layer, batch=batch)
