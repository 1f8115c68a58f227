"""Objectives on how far an image's activations are from another's, by any measure: inversion, style."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._checks import check_function, check_images, check_int, check_reals
from jaxlens._numerics import absolute
from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import Activations, Objective
from jaxlens.optvis.objectives._compare import as_target, check_channels, check_target
from jaxlens.optvis.objectives._layer import check_range, maps
from jaxlens.optvis.objectives._values import layer_names

Loss = Callable[[Any, Any], Any]


def mean_L1(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, ""]:
    """`mean |a - b|`."""
    return absolute(_between(a, b)).mean()


def mean_L2(a: Float[Array, "*shape"], b: Float[Array, "*shape"]) -> Float[Array, ""]:
    """`sqrt(mean (a - b)**2)`, with gradient 0 where they are equal."""
    square = jnp.square(_between(a, b)).mean()
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def relative_L2(a: Any, b: Any) -> Any:
    """`|a - b|^2 / |b|^2`: 0 where they are equal, 1 for an image without any activation."""
    return jnp.square(a - b).sum() / jnp.maximum(jnp.square(b).sum(), 1e-12)


def _between(a: Any, b: Any) -> Array:
    a, b = check_reals(a, "a"), check_reals(b, "b")
    if a.shape != b.shape and 1 not in (a.size, b.size):
        raise ValueError(f"a and b have shapes {a.shape} and {b.shape}, but the same is needed.")
    return a - b


def gram(a: Float[Array, "b h w c"]) -> Float[Array, "b c c"]:
    """Gram matrices over positions, `A^T A / (h w)`: which channels are active together, wherever (Gatys et al. 2015)."""
    a = check_reals(a, "a")
    if a.ndim != 4 or a.size == 0:
        raise ValueError(f"a has shape {a.shape}, but activations [B, h, w, C] are needed.")
    flat = a.reshape(a.shape[0], -1, a.shape[-1])
    return jnp.einsum("bpc,bpd->bcd", flat, flat, precision="highest") / flat.shape[1]


@pytree
class Difference(Objective):
    """See `activation_difference`."""

    target: Float[Array, "h w c"] | None = field(rank=3, default=None)
    loss_f: Loss = field(static=True)
    transform_f: Callable[[Any], Any] | None = field(static=True)
    layer: str = field(static=True)
    batch: int = field(static=True, default=0)
    difference_to: int = field(static=True, default=0)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        own = _transformed(maps(activations, self.layer, self.batch), self.transform_f)
        if self.target is None:
            return self.loss_f(own, _transformed(maps(activations, self.layer, self.difference_to), self.transform_f))
        return self.loss_f(own, self.target.reshape(own.shape))

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        if self.target is None:
            check_range(self.difference_to, images, "difference_to", self.layer)
        elif self.transform_f is None:
            check_target(self.target, shapes[self.layer], self.layer)
        else:
            check_channels(self.target, shapes[self.layer], self.layer)

    def describe(self, task: int = 0) -> str:
        return f"difference({self.layer})"


def _transformed(a: Float[Array, "b h w c"], transform_f: Callable[[Any], Any] | None) -> Any:
    return a if transform_f is None else transform_f(a)


def activation_difference(
    layers: Any,
    loss_f: Any = mean_L1,
    transform_f: Any = None,
    difference_to: Any = 1,
    batch: Any = 0,
) -> Objective:
    """How far an image's activations are from another's, summed over layers: `sum_l loss_f(f(A_l), f(B_l))`.

    Use a negative weight. With `transform_f=gram` it is the style loss of Gatys et al. (2015), see `style`.

    Args:
        layers: one name or several.
        loss_f: `mean_L1`, `mean_L2`, or any function of two arrays. It counts by identity: define it once.
        transform_f: from activations `[B, h, w, C]` to what is compared, such as `gram`.
        difference_to: which of the task's images, or a dict of activations by layer (`jaxlens.activations(model, image,
            layers)`), `[1, h, w, C]` or `[h, w, C]`; `[N, h, w, C]` for a batch of tasks.
        batch: which of the task's images is judged.
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
        given = as_target(difference_to[name], "difference_to")
        stack = given[None] if given.ndim == 3 else given
        stack = _transformed(stack, transform_f)
        stack = stack.reshape(stack.shape[0], *(1,) * (4 - stack.ndim), *stack.shape[1:])
        terms.append(Difference(target=stack if stack.shape[0] > 1 else stack[0], **options))
    return terms[0] if len(terms) == 1 else Objective.sum(terms)


def style(layers: Any, difference_to: Any = 2, loss_f: Any = mean_L1) -> Objective:
    """The style loss: how far Gram matrices are from another image's (`activation_difference`). Use a negative weight."""
    return activation_difference(layers, loss_f, gram, difference_to)


def input_diff(orig_img: Any) -> Objective:
    """The distance from an image, `sqrt(mean (x - x0)**2)`; use a negative weight.

    Args:
        orig_img: `[H, W, C]` in [0, 1], of the size of the images before transforms; `[N, H, W, C]` for N tasks.
    """
    target = check_images(orig_img, name="orig_img", channels=None, batched=getattr(orig_img, "ndim", 0) == 4)
    if 0 in target.shape:
        raise ValueError(f"orig_img has shape {target.shape}: it is empty.")
    return activation_difference("input", mean_L2, None, {"input": target})
