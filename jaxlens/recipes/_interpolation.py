"""Pictures on the way from one channel to another."""

from typing import Any, Unpack

import numpy as np

from jaxlens._checks import as_size, check_int, check_number
from jaxlens._types import Number, Size, Whole
from jaxlens.model import check_model
from jaxlens.optvis import objectives, param
from jaxlens.optvis.render import RenderResult, render
from jaxlens.optvis.render._options import ModelLike, RenderOptions
from jaxlens.recipes._inputs import merged


def interpolate(
    model: ModelLike,
    first: Any,
    second: Any,
    *,
    count: Whole = 6,
    weight: Number = 0.1,
    size: Size = 128,
    steps: Whole = 512,
    **options: Unpack[RenderOptions],
) -> RenderResult:
    """Render pictures on the way from one channel to another, which share their coarse structure.

    Args:
        model: any Model.
        first, second: a channel each, "mixed4a:3" or ("mixed4a", 3).
        count: how many pictures, both ends included.
        weight: of the alignment of neighbors in the first one's layer (decay 5, as in Lucid's
            notebook).
        size, steps, options: of `render`.

    Returns: a RenderResult of one task with `count` images.

    Example:
        >>> from jaxlens import Model, modelzoo, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = recipes.interpolate(
        ...     model, "conv2:3", "conv2:5", count=3, size=(24, 32), steps=2, transforms=[],
        ...     progress=False)
        >>> result.images.shape
        (1, 3, 24, 32, 3)
    """
    check_int(count, "count", low=2)
    start, end = _end(model, first, "first"), _end(model, second, "second")
    objective = objectives.channel_interpolate(*start, *end)
    if weight := check_number(weight, "weight"):
        objective = objective + weight * objectives.alignment(start[0], 5.0)
    own = options.pop("param", None)
    if own is None:
        height, width = as_size(size, "size")
        own = param.aligned(width, height, count, channels=check_model(model).channels)
    return render(model, objective, steps=steps, **merged(options, param=own))


def _end(model: Any, end: Any, name: str) -> tuple[str, Any]:
    """Return the layer and the channel of one end."""
    if isinstance(end, str):
        found = objectives.as_objective(end, check_model(model)).bind(model)
        layer, index = getattr(found, "layer", None), getattr(found, "index", None)
        if layer is None or index is None or np.ndim(index):
            raise ValueError(f"{name}={end!r} must be one channel, such as 'mixed4a:3'.")
        return layer, int(index)
    if not isinstance(end, tuple | list) or len(end) != 2:
        raise TypeError(f"{name}={end!r} must be a channel, such as 'mixed4a:3' or ('mixed4a', 3).")
    return end[0], end[1]
