"""Objectives on how far activations are from another image's, by any measure: inversion."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import check_function, check_images, check_int, check_reals
from jaxlens._numerics import absolute
from jaxlens._pytree import field, pytree
from jaxlens._types import Whole
from jaxlens.optvis.objectives._activations import maps
from jaxlens.optvis.objectives._base import Activations, Objective
from jaxlens.optvis.objectives._compare import as_activations, check_channels, check_target
from jaxlens.optvis.objectives._types import Layers, Loss, Map, Target, Values
from jaxlens.optvis.objectives._values import Leaf, layer_names, on_host


def mean_L1(a: Values, b: Values) -> Float[Array, ""]:
    """Mean absolute difference, `mean |a - b|`.

    Args:
        a, b: arrays of one shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> float(objectives.mean_L1(jnp.array([1.0, 4.0]), jnp.array([2.0, 1.0])))
        2.0
    """
    return absolute(_between(a, b)).mean()


def mean_L2(a: Values, b: Values) -> Float[Array, ""]:
    """Root of the mean square of the difference, `sqrt(mean (a - b)**2)`.

    Its gradient is 0 where both are equal.

    Args:
        a, b: arrays of one shape.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> float(objectives.mean_L2(jnp.array([1.0, 4.0]), jnp.array([2.0, 11.0])))
        5.0
    """
    square = jnp.square(_between(a, b)).mean()
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def relative_L2(a: Any, b: Any) -> Any:
    """`|a - b|^2 / |b|^2`: 0 where both are equal, 1 for an image without any activation."""
    return jnp.square(a - b).sum() / jnp.maximum(jnp.square(b).sum(), 1e-12)


def _between(a: Any, b: Any) -> Array:
    a, b = check_reals(a, "a"), check_reals(b, "b")
    if a.shape != b.shape and 1 not in (a.size, b.size):
        raise ValueError(f"a and b have shapes {a.shape} and {b.shape}, but the same is needed.")
    return a - b


@pytree
class Difference(Objective):
    """A distance of one image's activations to another's or to a target.

    See `activation_difference`. The target is transformed already.
    """

    target: Float[Leaf, "h w c"] | None = field(rank=3, default=None)
    loss_f: Callable[..., Any] = field(static=True)
    transform_f: Callable[..., Any] | None = field(static=True)
    layer: str = field(role="layer")
    batch: int = field(role="image", default=0)
    difference_to: int | None = field(role="image", default=None)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        own = _transformed(maps(activations, self.layer, self.batch), self.transform_f)
        if self.target is None:
            return self.loss_f(own, _transformed(maps(activations, self.layer, self.difference_to), self.transform_f))
        return self.loss_f(own, jnp.asarray(self.target).reshape(own.shape))

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        if self.target is None:
            return
        if self.transform_f is None:
            check_target(self.target, shapes[self.layer], self.layer)
        else:
            check_channels(self.target, shapes[self.layer], self.layer)

    def describe(self, task: int = 0) -> str:
        return f"difference({self.layer})"


def _transformed(a: Float[Array, "b h w c"], transform_f: Callable[..., Any] | None) -> Any:
    return a if transform_f is None else transform_f(a)


def activation_difference(
    layers: Layers,
    loss_f: Loss = mean_L1,
    transform_f: Map | None = None,
    difference_to: Target = 1,
    batch: Whole = 0,
) -> Objective:
    """Distance between two images' activations, summed over layers; use a negative weight.

    `sum_l loss_f(f(A_l), f(B_l))`. With `transform_f=gram` it is the style loss of Gatys et al.
    (2015), see `style`.

    Args:
        layers: one name or several.
        loss_f: `mean_L1`, `mean_L2`, or any function of two arrays. It counts by identity: define
            it once.
        transform_f: a function from activations `[B, h, w, C]` to what is compared, such as `gram`.
        difference_to: which of the task's images to compare with, or a dict of activations by layer
            (`jaxlens.activations(model, image, layers)`), `[1, h, w, C]` or `[h, w, C]`;
            `[N, h, w, C]` for a batch of tasks.
        batch: which of the task's images is judged.

    Example:
        >>> import jax
        >>> from jaxlens import Model, activations, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis import objectives
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> photo = jax.random.uniform(jax.random.key(0), (1, 24, 32, 3))
        >>> seen = activations(model, photo, ["conv2"])
        >>> distance = objectives.activation_difference("conv2", difference_to=seen)
        >>> float(distance(seen))  # `-distance` is the objective of an inversion
        0.0
    """
    names = layer_names(layers)
    check_function(loss_f, "loss_f", "objectives.mean_L1")
    if transform_f is not None:
        check_function(transform_f, "transform_f", "objectives.gram")
    batch = check_int(batch, "batch", low=0)
    if not isinstance(difference_to, Mapping) and check_int(difference_to, "difference_to", low=0) == batch:
        raise ValueError(f"difference_to={difference_to} and batch={batch} are one image, which never differs from itself.")
    terms: list[Objective] = []
    for name in names:
        options: dict[str, Any] = {"layer": name, "batch": batch, "loss_f": loss_f, "transform_f": transform_f}
        if not isinstance(difference_to, Mapping):
            terms.append(Difference(difference_to=difference_to, **options))
            continue
        if name not in difference_to:
            raise ValueError(
                f"difference_to has no activations of {name!r}. It has: {', '.join(map(str, difference_to)) or 'none'}."
            )
        terms.append(Difference(target=_target(difference_to[name], transform_f), **options))
    return terms[0] if len(terms) == 1 else Objective.sum(terms)


def _target(given: Any, transform_f: Callable[..., Any] | None) -> Leaf:
    """Return activations to compare with, transformed, `[h, w, C]` or one axis more for tasks."""
    target: Any = as_activations(given, "difference_to")
    target = target[None] if target.ndim == 3 else target
    if transform_f is not None:
        target = on_host(transform_f(jnp.asarray(target)))
    target = target.reshape(target.shape[0], *(1,) * (4 - target.ndim), *target.shape[1:])
    return target if target.shape[0] > 1 else target[0]


def input_diff(orig_img: Values) -> Objective:
    """Distance from an image, `sqrt(mean (x - x0)**2)`; use a negative weight.

    Args:
        orig_img: `[H, W, C]` in [0, 1], of the size of the images before transforms;
            `[N, H, W, C]` for N tasks.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> away = objectives.input_diff(jnp.full((64, 64, 3), 0.5))
        >>> (objectives.channel("mixed4a", 3) - 10 * away).layers
        ('mixed4a', 'input')
    """
    target = check_images(orig_img, name="orig_img", channels=None, batched=None)
    if 0 in target.shape:
        raise ValueError(f"orig_img has shape {target.shape}: it is empty.")
    return activation_difference("input", mean_L2, None, {"input": target})
