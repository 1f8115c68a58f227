"""Objectives on the image itself, before transforms, or on any layer: penalties, used with a negative weight."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_int
from jaxlens._numerics import absolute
from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import Activations, Objective, pick
from jaxlens.optvis.objectives._layer import maps
from jaxlens.optvis.objectives._values import numbers


@pytree
class TotalVariation(Objective):
    """See `total_variation`."""

    layer: str = field(static=True)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, None)
        return (absolute(jnp.diff(a, axis=1)).sum() + absolute(jnp.diff(a, axis=2)).sum()) / a.shape[0]

    def describe(self, task: int = 0) -> str:
        return f"total_variation({self.layer})"


@pytree
class L1Norm(Objective):
    """See `L1`."""

    constant: Float[Array, ""] = field(rank=0)
    layer: str = field(static=True)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return absolute(activations[self.layer] - self.constant).sum()

    def describe(self, task: int = 0) -> str:
        return f"L1({self.layer}, {pick(self.constant, task, 0):.4g})"


@pytree
class Largest(Objective):
    """See `L_inf`."""

    constant: Float[Array, ""] = field(rank=0)
    layer: str = field(static=True)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return absolute(activations[self.layer] - self.constant).max()

    def describe(self, task: int = 0) -> str:
        return f"L_inf({self.layer}, {pick(self.constant, task, 0):.4g})"


@pytree
class L2Norm(Objective):
    """See `L2`."""

    constant: Float[Array, ""] = field(rank=0)
    epsilon: Float[Array, ""] = field(rank=0)
    layer: str = field(static=True)

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.sqrt(self.epsilon + jnp.square(activations[self.layer] - self.constant).sum())

    def describe(self, task: int = 0) -> str:
        return f"L2({self.layer}, {pick(self.constant, task, 0):.4g})"


@pytree
class Blur(Objective):
    """See `blur_input_each_step`; of channels from `first` on."""

    first: int = field(static=True, default=0)
    layer: str = field(static=True, default="input")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        x = maps(activations, self.layer, None)[..., self.first :]
        return 0.5 * jnp.square(x - jax.lax.stop_gradient(blur(x, 3))).sum()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        if shapes[self.layer][-1] <= self.first:
            raise ValueError("blur_alpha_each_step needs images with a fourth channel: `param.image(..., alpha=True)`.")

    def describe(self, task: int = 0) -> str:
        return "blur_alpha" if self.first else "blur_input"


@pytree
class Boundary(Objective):
    """See `penalize_boundary_complexity`."""

    mask: Float[Array, "h w"] = field(rank=2)
    grey: Float[Array, ""] = field(rank=0)
    layer: str = field(static=True, default="input")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        x = activations[self.layer]
        complexity = jnp.square(blur(x, 5) - x) + 0.8 * jnp.square(x - self.grey)
        return -(self.mask[None, :, :, None] * complexity).sum()

    def check(self, shapes: Mapping[str, tuple[int, ...]], images: int) -> None:
        super().check(shapes, images)
        if self.mask.shape[-2:] != shapes[self.layer][:2]:
            raise ValueError(f"shp or mask is {self.mask.shape[-2:]}, but the images are {shapes[self.layer][:2]}.")

    def describe(self, task: int = 0) -> str:
        return "boundary"


def blur(x: Float[Array, "b h w c"], w: Any) -> Float[Array, "b h w c"]:
    """Lucid's blur: a `w x w` kernel of 1 with a border of 0.5, normalised at the edges by what of it lies inside."""
    ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    return (_box(x, w) + _box(x, w - 2)) / (_box(ones, w) + _box(ones, w - 2))


def _box(x: Float[Array, "b h w c"], w: int) -> Float[Array, "b h w c"]:
    """Sums over `w x w` windows, zeros outside."""
    for axis in (1, 2):
        padded = jnp.pad(x, [(w // 2, w // 2) if i == axis else (0, 0) for i in range(4)])
        x = jnp.stack([jax.lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in range(w)]).sum(0)
    return x


def blur_input_each_step() -> Objective:
    """`0.5 sum (x - blur(x))**2`, the blurred image held constant; with weight `-k` each step of plain gradient ascent of rate
    1 blurs a little: `x <- (1 - k) x + k blur(x)`. Lucid's, with its 3x3 blur.
    """
    return Blur()


def blur_alpha_each_step() -> Objective:
    """`blur_input_each_step` of the opacity alone (`param.image(..., alpha=True)`)."""
    return Blur(first=3)


def penalize_boundary_complexity(shp: Any, w: Any = 20, mask: Any = None, C: Any = 0.5) -> Objective:
    """Keeps the border of images plain and grey: `- sum mask ((blur(x) - x)**2 + 0.8 (x - C)**2)`.

    It is negative, so use a *positive* weight, as in Lucid.

    Args:
        shp: `(B, H, W, C)` or `(H, W)` of the images.
        w: width of the border in pixels, at least 1.
        mask: `[H, W]`, instead of 1 on the border and 0 inside.
        C: the grey.
    """
    if not isinstance(shp, tuple | list) or len(shp) not in (2, 4):
        raise TypeError(f"shp={shp!r} must be (B, H, W, C) or (H, W) of the images.")
    height, width = (check_int(n, "shp", low=1) for n in (shp[1:3] if len(shp) == 4 else shp))
    if mask is None:
        w = check_int(w, "w", low=1)
        rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) < w for n in (height, width))
        mask = rows[:, None] | columns[None, :]
    given = numbers(mask, "mask", 2)
    if given.shape != (height, width):
        raise ValueError(f"mask has shape {given.shape}, but shp={tuple(shp)} needs {(height, width)}.")
    return Boundary(mask=given, grey=numbers(C, "C"))


def total_variation(layer: Any = "input") -> Objective:
    """`sum |dx| + sum |dy|` per image, mean over images; `layer` "input" is the untransformed image.

    Lucid returns one value per image unreduced; for one image the two agree.
    """
    return TotalVariation(layer=layer)


def L1(layer: Any = "input", constant: Any = 0.0) -> Objective:
    """`sum |a - constant|` over everything, Lucid's definition."""
    return L1Norm(layer=layer, constant=numbers(constant, "constant"))


def L2(layer: Any = "input", constant: Any = 0.0, epsilon: Any = 1e-6) -> Objective:
    """`sqrt(epsilon + sum (a - constant)**2)`, Lucid's definition."""
    return L2Norm(layer=layer, constant=numbers(constant, "constant"), epsilon=numbers(epsilon, "epsilon", low=0))


def L_inf(layer: Any = "input", constant: Any = 0.0) -> Objective:
    """`max |a - constant|`, xplique's `l_inf_reg`."""
    return Largest(layer=layer, constant=numbers(constant, "constant"))
