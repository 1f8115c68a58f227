"""Penalties on the image before transforms, or on any layer; used with a negative weight."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_int
from jaxlens._numerics import absolute
from jaxlens._pytree import field, pytree
from jaxlens._types import Text, Whole
from jaxlens.optvis.objectives._activations import maps
from jaxlens.optvis.objectives._base import Activations, Objective, pick
from jaxlens.optvis.objectives._types import Numbers, Shape, Values
from jaxlens.optvis.objectives._values import Leaf, numbers


@pytree
class TotalVariation(Objective):
    """The sum of differences between neighboring pixels; see `total_variation`."""

    layer: str = field(role="layer")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        a = maps(activations, self.layer, None)
        return (absolute(jnp.diff(a, axis=1)).sum() + absolute(jnp.diff(a, axis=2)).sum()) / a.shape[0]

    def describe(self, task: int = 0) -> str:
        return f"total_variation({self.layer})"


@pytree
class L1Norm(Objective):
    """A sum of absolute differences; see `L1`."""

    constant: Float[Leaf, ""] = field(rank=0)
    layer: str = field(role="layer")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return absolute(activations[self.layer] - self.constant).sum()

    def describe(self, task: int = 0) -> str:
        return f"L1({self.layer}, {pick(self.constant, task, 0):.4g})"


@pytree
class Largest(Objective):
    """The largest absolute difference; see `L_inf`."""

    constant: Float[Leaf, ""] = field(rank=0)
    layer: str = field(role="layer")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return absolute(activations[self.layer] - self.constant).max()

    def describe(self, task: int = 0) -> str:
        return f"L_inf({self.layer}, {pick(self.constant, task, 0):.4g})"


@pytree
class L2Norm(Objective):
    """A Euclidean distance; see `L2`."""

    constant: Float[Leaf, ""] = field(rank=0)
    epsilon: Float[Leaf, ""] = field(rank=0)
    layer: str = field(role="layer")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        return jnp.sqrt(self.epsilon + jnp.square(activations[self.layer] - self.constant).sum())

    def describe(self, task: int = 0) -> str:
        return f"L2({self.layer}, {pick(self.constant, task, 0):.4g})"


@pytree
class Blur(Objective):
    """Distance to the blurred image, of channels from `first` on; see `blur_input_each_step`."""

    first: int = field(static=True, default=0)
    layer: str = field(role="layer", default="input")

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
    """A plain border as a score; see `penalize_boundary_complexity`."""

    mask: Float[Leaf, "h w"] = field(rank=2)
    grey: Float[Leaf, ""] = field(rank=0)
    layer: str = field(role="layer", default="input")

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
    """Blur images as Lucid does, with a `w x w` kernel of 1 and a border of 0.5.

    At the edges the kernel is normalized by the part of it that lies inside.
    """
    ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    return (_box(x, w) + _box(x, w - 2)) / (_box(ones, w) + _box(ones, w - 2))


def _box(x: Float[Array, "b h w c"], w: int) -> Float[Array, "b h w c"]:
    """Sum over `w x w` windows, with zeros outside."""
    for axis in (1, 2):
        padded = jnp.pad(x, [(w // 2, w // 2) if i == axis else (0, 0) for i in range(4)])
        x = jnp.stack([jax.lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in range(w)]).sum(0)
    return x


def blur_input_each_step() -> Objective:
    """Distance of the image to its blur, `0.5 sum (x - blur(x))**2`, with the blur held constant.

    With weight `-k`, each step of plain gradient ascent of rate 1 blurs a little:
    `x <- (1 - k) x + k blur(x)`. Lucid's, with its 3x3 blur.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.channel("mixed4a", 3) - 0.1 * objectives.blur_input_each_step()
        >>> objective.describe()
        'mixed4a:3 - 0.1*blur_input'
        >>> float(objectives.blur_input_each_step()({"input": jnp.ones((1, 8, 8, 3))}))
        0.0
    """
    return Blur()


def blur_alpha_each_step() -> Objective:
    """Distance of the opacity to its blur; see `blur_input_each_step`.

    It needs images with a fourth channel, `param.image(..., alpha=True)`.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.channel("mixed4a", 3) - 0.1 * objectives.blur_alpha_each_step()
        >>> objective.describe()
        'mixed4a:3 - 0.1*blur_alpha'
    """
    return Blur(first=3)


def penalize_boundary_complexity(shp: Shape, w: Whole = 20, mask: Values | None = None, C: Numbers = 0.5) -> Objective:
    """Score of a plain, gray border: `- sum mask ((blur(x) - x)**2 + 0.8 (x - C)**2)`.

    It is negative, so use a *positive* weight, as in Lucid.

    Args:
        shp: `(B, H, W, C)` or `(H, W)` of the images.
        w: width of the border in pixels, at least 1.
        mask: `[H, W]`, instead of 1 on the border and 0 inside.
        C: the gray.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> plain = objectives.penalize_boundary_complexity((32, 32), w=5)
        >>> gray = jnp.full((1, 32, 32, 3), 0.5)
        >>> bool(plain({"input": gray}) > plain({"input": gray.at[0, 0, 7].set(1.0)}))
        True
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


def total_variation(layer: Text = "input") -> Objective:
    """Total variation per image, `sum |dx| + sum |dy|`, mean over images.

    Lucid returns one value per image, unreduced. For one image the two agree.

    Args:
        layer: name as in `model.layers`; "input" is the image before transforms.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> halves = jnp.zeros((1, 4, 4, 3)).at[:, :, 2:].set(1.0)
        >>> float(objectives.total_variation()({"input": halves}))
        12.0
    """
    return TotalVariation(layer=layer)


def L1(layer: Text = "input", constant: Numbers = 0.0) -> Objective:
    """Sum of absolute differences to a constant, `sum |a - constant|`, as in Lucid.

    Args:
        layer: name as in `model.layers`; "input" is the image before transforms.
        constant: a number, or several for a batch of tasks.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> float(objectives.L1(constant=0.5)({"input": jnp.ones((1, 2, 2, 3))}))
        6.0
    """
    return L1Norm(layer=layer, constant=numbers(constant, "constant"))


def L2(layer: Text = "input", constant: Numbers = 0.0, epsilon: Numbers = 1e-6) -> Objective:
    """Euclidean distance to a constant, `sqrt(epsilon + sum (a - constant)**2)`, as in Lucid.

    Args:
        layer: name as in `model.layers`; "input" is the image before transforms.
        constant: a number, or several for a batch of tasks.
        epsilon: keeps the gradient finite at the constant; at least 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> round(float(objectives.L2(constant=0.5)({"input": jnp.ones((1, 2, 2, 3))})), 3)
        1.732
    """
    return L2Norm(layer=layer, constant=numbers(constant, "constant"), epsilon=numbers(epsilon, "epsilon", low=0))


def L_inf(layer: Text = "input", constant: Numbers = 0.0) -> Objective:
    """Largest absolute difference to a constant, `max |a - constant|`: xplique's `l_inf_reg`.

    Args:
        layer: name as in `model.layers`; "input" is the image before transforms.
        constant: a number, or several for a batch of tasks.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> image = jnp.full((1, 2, 2, 3), 0.5).at[0, 0, 0, 0].set(1.0)
        >>> float(objectives.L_inf(constant=0.25)({"input": image}))
        0.75
    """
    return Largest(layer=layer, constant=numbers(constant, "constant"))
