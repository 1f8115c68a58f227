"""Patterns that tile the plane without seams."""

from typing import Any, Unpack

import numpy as np

from jaxlens._checks import check_number
from jaxlens._types import Number, Size, Whole
from jaxlens.optvis import transform
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._options import ModelLike, ObjectiveLike, RenderOptions
from jaxlens.recipes._inputs import canvas


def tileable(
    model: ModelLike,
    objective: ObjectiveLike,
    *,
    size: Size = 128,
    steps: Whole = 512,
    scales: Any = (0.7, 1.2),
    angles: Number = 10.0,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render pictures that tile the plane without seams: infinite patterns.

    Each step shows the network a window of the endless tiling, of the picture's size, at a random
    place, scale and angle: no pixel is ever at a border. The parameterization is periodic too, so
    that nothing is drawn toward a border.

    Args:
        model: any Model.
        objective: as in `render`.
        size: of the tile.
        steps: number of updates.
        scales: the interval of random scales; below 1 the window shows more than one tile.
        angles: the largest rotation to either side, in degrees.
        options: of `render`.

    Returns: a RenderResult; `np.tile(result.images[0, 0], (3, 3, 1))` shows nine tiles.

    Lucid's notebook on infinite patterns has a CPPN on a torus, and octaves; here coarse and fine
    structures are left to the Fourier coefficients.

    Example:
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = recipes.tileable(model, "conv2:3", size=(24, 32), steps=2, progress=False)
        >>> result.images.shape
        (1, 1, 24, 32, 3)
    """
    if not isinstance(scales, tuple | list) or len(scales) != 2:
        raise TypeError(f"scales={scales!r} must be two numbers, such as (0.7, 1.2).")
    low, high = (check_number(scale, "scales") for scale in scales)
    if not 0.1 <= low <= high <= 10:
        raise ValueError(f"scales={scales} must be two numbers in ascending order, 0.1 to 10, such as (0.7, 1.2).")
    angles = check_number(angles, "angles", low=0, high=180)
    own = canvas(model, options.pop("param", None), size)
    height, width = own.shape[1:3]
    moves = [transform.roll(), transform.pad(_around(height, width, low, angles), "wrap")]
    moves.append(transform.random_scale(transform.uniform(low, high) if low < high else [low]))
    if angles:
        moves.append(transform.random_rotate(transform.uniform(-angles, angles)))
    given: dict[str, Any] = {"transforms": [*moves, transform.crop_or_pad_to(height, width)], **options}
    return render(model, objective, steps=steps, param=own, **given)


def _around(height: int, width: int, scale: float, angles: float) -> int:
    """Return how far a window that is enlarged by 1 / scale and turned reaches beyond its size."""
    turns = np.radians(np.linspace(0, min(angles, 90), 91))
    down = (height * np.cos(turns) + width * np.sin(turns)).max() / scale - height
    right = (width * np.cos(turns) + height * np.sin(turns)).max() / scale - width
    return int(np.ceil(max(down, right, 0) / 2)) + 2
