"""Class activation maps of several layers: the mean of their maps."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jaxlens.attribution._maps import normalize, relu, resize
from jaxlens.attribution._query import ask
from jaxlens.attribution._result import Attribution

Layers = str | Sequence[str] | None
Cam = TypeVar("Cam", bound=Callable[..., Attribution])


def several(cam: Cam) -> Cam:
    """Make a class activation map take a list of layers too.

    As pytorch-grad-cam does with several target layers: each map is rectified, scaled to [0, 1]
    within its image and resized to the image. The mean of these is the map.
    """

    @functools.wraps(cam)
    def wrapped(model: Any, images: Any, target: Any = None, *, layer: Layers = None, **options: Any) -> Attribution:
        if not isinstance(layer, list | tuple):
            return cam(model, images, target, layer=layer, **options)
        if not layer:
            raise ValueError("layer is an empty list: give at least one name, or None for the default.")
        if options.get("per_channel"):
            raise ValueError(f"per_channel=True is for one layer, but layer={layer!r} lists {len(layer)}.")
        query = ask(model, images, target)  # the top class is that of the image, and found once
        found = [cam(model, query.images, query.target, layer=each, **options) for each in layer]
        maps = [resize(normalize(relu(each.values)), query.size) for each in found]
        mean = functools.reduce(lambda a, b: a + b, maps) / len(maps)
        return found[0].replace(values=mean, layer=", ".join(each.layer for each in found))

    return wrapped  # type: ignore[return-value]
