"""The layer of a class activation map: the one named, or the last that the target sees whole."""

import dataclasses
import functools
from typing import Any

from jaxlens._checks import suggest
from jaxlens.attribution._flow import dependency_masks
from jaxlens.attribution._grid import ATTENTION, MAX_EXTRA, Grid, grid_of
from jaxlens.attribution._query import Query, check_path
from jaxlens.model import Model
from jaxlens.model._architecture import Architecture, Size

# They change nothing, or only the number of positions: the layer before them is the one to use.
_PASSING = ("Dropout", "Identity", "Permute", "StochasticDepth", "Flatten", "AdaptiveAvgPool", "AvgPool")


@dataclasses.dataclass(frozen=True)
class _Survey:
    default: str | None
    blind: frozenset[str]  # layers with a grid, of which the target sees no position


@functools.lru_cache(maxsize=256)
def _survey(architecture: Architecture, size: Size, targets: tuple[str, ...]) -> _Survey:
    """Go back from the target to the last layer whose grid it sees whole."""
    layers = architecture.layers(size)
    grids = {name: grid_of(name, layer.shape, size) for name, layer in layers.items() if name != "input"}
    grids = {name: grid for name, grid in grids.items() if grid is not None}
    blind = set(grids)
    for name, seen in dependency_masks(architecture, size, tuple(grids), targets):
        grid = grids[name]
        part = grid.sees(seen)
        blind -= {name} if part.any() else set()
        passing = layers[name].kind.startswith(_PASSING)
        if part.all() and grid.height * grid.width > 1 and not passing and _fits(grid, size):
            before = list(grids)[: list(grids).index(name)]  # not looked at
            return _Survey(name, frozenset(blind.difference(before)))
    return _Survey(None, frozenset(blind))


def _fits(grid: Grid, size: Size) -> bool:
    """Return whether the grid looks like the image, and not like windows or heads on three axes."""
    down, across = size[0] / grid.height, size[1] / grid.width
    return down / across < 2 and across / down < 2


def cam_layer(query: Query, layer: Any, *, gradient: bool) -> tuple[str, Grid]:
    """Return the layer of a class activation map, given or by default, and its grid.

    The default is the last layer before the target, in order of execution, that lies on a grid all
    of whose values the target can see. In a convolutional network these are the last features, not
    the maps of class scores that come after (SqueezeNet); in a transformer with a class token it is
    the norm before the last attention.

    Args:
        query: at the input.
        layer: a name, or None for the default.
        gradient: whether the gradient there is wanted, so that it must not be zero by construction.
    """
    model, size, targets = query.model, query.size, tuple(query.target.layers)
    survey = _survey(model.architecture, size, targets)
    if layer is None:
        if survey.default is None:
            raise ValueError(
                f"{model.name} has no layer on a grid that the target ({', '.join(targets)}) sees whole. Pass layer=: "
                f"{_with_grids(model, size)}."
            )
        layer = survey.default
    name = model.resolve(layer)
    check_path(model, name, targets)
    shape = model.shapes(size, [name])[name]
    grid = grid_of(name, shape, size)
    if grid is None:
        raise ValueError(
            f"layer={layer!r} of {model.name} has shape {shape} for an image of {size[0]}x{size[1]}, which is no grid of "
            f"positions: {_why(name, shape)}. Layers with one: {_with_grids(model, size, name)}."
        )
    if gradient and name in survey.blind:
        advice = f"Choose {survey.default!r} (the default) or one before it" if survey.default else "Choose an earlier layer"
        raise ValueError(
            f"layer={layer!r} of {model.name}: the target sees none of its {grid.height}x{grid.width} positions, so that their "
            f"gradient is zero (after the last attention a class token takes nothing more from the patches). {advice}."
        )
    return name, grid


def _why(name: str, shape: tuple[int, ...]) -> str:
    if name.partition("@")[0].endswith(ATTENTION):
        return "it holds attention weights; see attribution.attention_maps"
    if len(shape) == 2:
        return f"its tokens are not 0 to {MAX_EXTRA} extra ones and then rows of square patches that divide the image"
    return "it is a vector" if len(shape) == 1 else f"it has {len(shape)} axes"


def _with_grids(model: Model, size: tuple[int, ...], like: str = "") -> str:
    """Return the layers that have a grid, nearest names first, with their shapes."""
    layers = model.architecture.layers(size)
    legal = [n for n, layer in layers.items() if n != "input" and grid_of(n, layer.shape, size)]
    if not legal:
        return "none"
    near = suggest(like, legal) if like else legal[-3:]
    return ", ".join(f"{name!r} {layers[name].shape}" for name in dict.fromkeys([*near, legal[-1]]))
