"""Random scale and rotation about the center, on a canvas of fixed size."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._pytree import field, pytree
from jaxlens._types import Number, Text
from jaxlens.optvis.transform._base import check_call, check_finite, check_grey
from jaxlens.optvis.transform._draw import Choices, Uniform
from jaxlens.optvis.transform._resample import rotate_and_scale
from jaxlens.optvis.transform._types import Values

RADIANS_PER_UNIT = {  # Lucid's spellings
    **dict.fromkeys(("degrees", "degs", "deg"), math.pi / 180),
    **dict.fromkeys(("radians", "rads", "rad"), 1.0),
}


@pytree
class RandomScale:
    """See `random_scale`."""

    scales: Choices | Uniform
    fill: float = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Map `[B, H, W, C]` to the same shape."""
        return resample_once([self], [key], check_call(images, "random_scale"))


@pytree
class RandomRotate:
    """See `random_rotate`."""

    angles: Choices | Uniform
    radians: float = field(static=True)  # per unit of `angles`
    fill: float = field(static=True)

    def __call__(self, key: PRNGKeyArray, images: Array) -> Array:
        """Map `[B, H, W, C]` to the same shape."""
        return resample_once([self], [key], check_call(images, "random_rotate"))


def resample_once(stages: Sequence[RandomScale | RandomRotate], keys: Sequence[PRNGKeyArray], images: Array) -> Array:
    """Apply several stages of one `fill` as a single interpolation.

    About one center, scales multiply and angles add.
    """
    scale: Float[Array, ""] = jnp.float32(1)
    angle: Float[Array, ""] = jnp.float32(0)
    max_scale, max_angle = 1.0, 0.0
    for stage, key in zip(stages, keys, strict=True):
        if isinstance(stage, RandomScale):
            scale *= stage.scales.draw(key)
            max_scale *= stage.scales.bounds[1]
        else:
            angle += stage.angles.draw(key) * stage.radians
            max_angle += max(abs(bound) for bound in stage.angles.bounds) * stage.radians
    fill = stages[0].fill
    with jax.named_scope("jaxlens.resample"):
        return rotate_and_scale(images, scale, angle, max_scale=max_scale, max_angle=max_angle, fill=fill)


def random_scale(scales: Values, *, fill: Number = 0.5) -> RandomScale:
    """Enlarge images about their center by a random factor, on a canvas of the same size.

    Differs from Lucid, whose output changes size with every draw, and from Lucent, which pads a
    shrunk image with black to the old size and lets an enlarged one grow. Here the size stays and
    the border is gray.

    Args:
        scales: the factors to choose from (above 1 enlarges), or `transform.uniform(low, high)`.
        fill: the color around a shrunk image.

    Raises:
        ValueError: if there are no scales, or one is not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> shrink = transform.random_scale([0.5])
        >>> shrunk = shrink(jax.random.key(0), jnp.ones((1, 24, 32, 3)))
        >>> shrunk.shape, float(shrunk[0, 0, 0, 0])  # the corner shows `fill`
        ((1, 24, 32, 3), 0.5)
    """
    draw = scales if isinstance(scales, Uniform) else Choices(values=check_finite(scales, "scales"))
    if draw.bounds[0] <= 0:
        raise ValueError(f"scales={_shown(scales)} must all be positive; 1 keeps the size, 0.9 shrinks.")
    return RandomScale(scales=draw, fill=check_grey(fill, "fill"))


def random_rotate(angles: Values, units: Text = "degrees", *, fill: Number = 0.5) -> RandomRotate:
    """Turn images about their center by a random angle, counter-clockwise as displayed.

    Differs from Lucid and Lucent, whose corners are black (in [0, 1], before the model's
    normalization): `fill=0` is theirs.

    Args:
        angles: the angles to choose from, of any size, or `transform.uniform(low, high)`.
        units: "degrees" or "radians" (or "degs", "deg", "rads", "rad").
        fill: the color in the corners.

    Raises:
        ValueError: if there are no angles, or `units` is unknown.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxlens.optvis import transform
        >>> turn = transform.random_rotate([90])
        >>> image = jnp.zeros((1, 3, 3, 1)).at[0, 0, 1].set(1)  # bright at the top
        >>> turned = turn(jax.random.key(0), image)
        >>> [round(float(x)) for x in turned[0, 1, :, 0]]  # bright on the left
        [1, 0, 0]
    """
    if not isinstance(units, str) or units.lower() not in RADIANS_PER_UNIT:
        raise ValueError(f"units={units!r} is unknown; use one of {sorted(RADIANS_PER_UNIT)}.")
    draw = angles if isinstance(angles, Uniform) else Choices(values=check_finite(angles, "angles"))
    return RandomRotate(angles=draw, radians=RADIANS_PER_UNIT[units.lower()], fill=check_grey(fill, "fill"))


def _shown(scales: Any) -> str:
    """Return the scales as the user wrote them, for an error."""
    return f"uniform({scales.low}, {scales.high})" if isinstance(scales, Uniform) else repr(scales)
