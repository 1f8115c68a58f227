"""Whether an attribution points at the object."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxlens._checks import as_array, check_finite, check_number, is_known
from jaxlens._numerics import ratio
from jaxlens.attribution._entry import entry
from jaxlens.attribution._types import BoxesLike, ValuesLike
from jaxlens.attribution.metrics._inputs import pixel_map

BOXES = "(left, top, right, bottom), or an array or list of these"


@entry
def pointing_game(
    values: ValuesLike, boxes: BoxesLike, *, size: tuple[int, int] | None = None, tolerance: float = 0
) -> Float[Array, " b"]:
    """Return 1 where the largest value lies in one of the object's boxes, else 0.

    Zhang et al. 2018, arXiv:1608.00507. Where several values are largest, return the share of them
    that lie in a box, so that a constant map gets what chance gets.

    Args:
        values: an `Attribution` or its array `[B, h, w, C]`; channels are summed.
        boxes: `(left, top, right, bottom)` in pixels of the image, from the corner at (0, 0); a
            pixel is in a box if its center is. `[4]` for all images, `[B, 4]`, `[B, N, 4]`, or a
            list with the boxes `[n, 4]` of each image. Boxes without area are padding.
        size: the image's (height, width), to which maps of another size are resized bilinearly;
            None if they have it.
        tolerance: pixels by which the point may miss a box. The paper: 15, for images of a few
            hundred pixels.

    Returns: `[B]`; the mean over images is the accuracy.

    Example:
        >>> import numpy as np
        >>> from jaxlens.attribution import metrics
        >>> values = np.zeros((2, 4, 6, 1))
        >>> values[0, 1, 4] = values[1, 3, 0] = 1
        >>> metrics.pointing_game(values, (3, 0, 6, 3)).tolist()  # the same box for both images
        [1.0, 0.0]
    """
    maps = pixel_map(values, None, size)
    return _hits(maps, _inside(_boxes(boxes, len(maps)), maps, _check_tolerance(tolerance)))


@jax.jit
def _hits(maps: Float[Array, "b h w"], inside: Bool[Array, "b h w"]) -> Float[Array, " b"]:
    largest = maps == maps.max((1, 2), keepdims=True)
    return (largest & inside).sum((1, 2)) / largest.sum((1, 2))


@entry
def energy_pointing_game(values: ValuesLike, boxes: BoxesLike, *, size: tuple[int, int] | None = None) -> Float[Array, " b"]:
    """Return the share of the positive attributions that lies in the object's boxes.

    Wang et al. 2020, arXiv:1910.01279.

    Args: as `pointing_game`.

    Returns: `[B]`, in [0, 1]; 0 where nothing is positive.

    Example:
        >>> import numpy as np
        >>> from jaxlens.attribution import metrics
        >>> values = np.zeros((1, 4, 6, 1))
        >>> values[0, 1, 4], values[0, 3, 0] = 3, 1
        >>> metrics.energy_pointing_game(values, [(3, 0, 6, 3)]).tolist()
        [0.75]
    """
    maps = pixel_map(values, None, size)
    return _energy(maps, _inside(_boxes(boxes, len(maps)), maps, 0.0))


@jax.jit
def _energy(maps: Float[Array, "b h w"], inside: Bool[Array, "b h w"]) -> Float[Array, " b"]:
    maps = jnp.maximum(maps, 0)
    return ratio(jnp.where(inside, maps, 0).sum((1, 2)), maps.sum((1, 2)))


def _check_tolerance(tolerance: float) -> float:
    return check_number(tolerance, "tolerance", low=0)


def _boxes(boxes: Any, count: int) -> Float[Array, "b n 4"]:
    """Return checked boxes, `[B or 1, N, 4]`."""
    array = _padded(boxes)
    if array.ndim != 3 or array.shape[2] != 4 or array.shape[0] not in (1, count):
        raise ValueError(
            f"boxes make an array of shape {array.shape}, but [4], [{count}, 4], [{count}, N, 4] or a list of {count} arrays "
            "[n, 4] is needed."
        )
    if is_known(array):
        left, top, right, bottom = np.moveaxis(np.asarray(array), -1, 0)
        if not ((right > left) & (bottom > top)).any(1).all():
            raise ValueError(
                "boxes: some image has none with an area: (left, top, right, bottom) with left < right and top < bottom."
            )
    return jnp.asarray(array)


@jax.jit
def _inside(boxes: Float[Array, "k n 4"], maps: Float[Array, "b h w"], tolerance: Any) -> Bool[Array, "b h w"]:
    """Return which pixels have their center in a box, or within the tolerance of one."""
    left, top, right, bottom = (boxes[:, :, i, None, None] for i in range(4))
    y = jnp.arange(maps.shape[1])[None, None, :, None] + 0.5
    x = jnp.arange(maps.shape[2])[None, None, None, :] + 0.5
    away_x = jnp.maximum(jnp.maximum(left - x, x - right), 0)
    away_y = jnp.maximum(jnp.maximum(top - y, y - bottom), 0)
    near = (jnp.hypot(away_x, away_y) <= tolerance) & (right > left) & (bottom > top)
    return jnp.broadcast_to(near.any(1), maps.shape)


def _padded(boxes: Any) -> Any:
    """Return boxes as `[B or 1, N, 4]`; lists of different lengths are padded with empty boxes."""
    if isinstance(boxes, list | tuple):
        each = [as_array(some, "boxes", BOXES) for some in boxes]
        if each and all(some.ndim == 2 for some in each):
            most = max(map(len, each))
            boxes = [jnp.pad(some, ((0, most - len(some)), (0, 0))) for some in each]
    array = check_finite(as_array(boxes, "boxes", BOXES).astype(jnp.float32), "boxes")
    if array.ndim == 1:
        return array[None, None]
    return array[:, None] if array.ndim == 2 else array
