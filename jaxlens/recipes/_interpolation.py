"""Pictures on the way from one channel to another."""

from typing import Any

from jaxlens._checks import check_int, check_number, check_size
from jaxlens.model import check_model
from jaxlens.optvis import objectives, param
from jaxlens.optvis.render import RenderResult, render


def interpolate(
    model: Any,
    first: Any,
    second: Any,
    *,
    count: Any = 6,
    weight: Any = 0.1,
    size: Any = 128,
    **options: Any,
) -> RenderResult:
    """Pictures on the way from one channel to another, which share their coarse structure.

    Args:
        model: any Model.
        first, second: layer and channel.
        count: how many pictures, both ends included.
        weight: of the alignment of neighbours in the first one's layer (decay 5, as in Lucid's notebook).
        size, options: of `render`.
    """
    check_int(count, "count", low=2)
    for name, end in (("first", first), ("second", second)):
        if not isinstance(end, tuple | list) or len(end) != 2:
            raise TypeError(f"{name}={end!r} must be (layer, channel), such as ('mixed4a', 3).")
    objective = objectives.channel_interpolate(*first, *second)
    if weight := check_number(weight, "weight"):
        objective = objective + weight * objectives.alignment(first[0], 5.0)
    own = options.pop("param", None)
    if own is None:
        height, width = check_size(size, "size")
        own = param.aligned(width, height, count, channels=check_model(model).channels)
    return render(model, objective, param=own, **options)
