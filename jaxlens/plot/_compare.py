"""Tables of pictures: one task over the steps, methods side by side, sums of neurons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from jaxlens._checks import check_int, shortened
from jaxlens.optvis.render import RenderResult
from jaxlens.plot._grid import check_names, grid, to_tiles
from jaxlens.plot._sheet import contact_sheet
from jaxlens.plot._types import Names, Pictures


def evolution_strip(result: RenderResult, task: int = 0, image: int = 0, *, title: str = "") -> Image.Image:
    """Draw the snapshots of one picture in a row, in order, each under its step.

    Args:
        result: what a `render(..., thresholds=(1, 32, 128, 512))` returned.
        task: the number of one of its N tasks.
        image: the number of one of the task's B images.
        title: a line at the top.

    Returns: a Pillow image.

    Raises:
        ValueError: if there are no snapshots, or no such task or image.

    Example:
        >>> from jaxlens import Model, modelzoo, plot
        >>> from jaxlens.model import IMAGENET
        >>> from jaxlens.optvis.render import render
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = render(model, "conv3:3", size=(24, 32), steps=2, thresholds=(1, 2))
        >>> plot.evolution_strip(result, title="conv3:3").save("evolution.png")
    """
    if not _check_result(result).snapshots:
        raise ValueError("result has no snapshots: render with thresholds=(1, 32, 128, 512).")
    task = check_int(task, "task", low=0, high=result.images.shape[0] - 1)
    image = check_int(image, "image", low=0, high=result.images.shape[1] - 1)
    steps = sorted(result.snapshots)
    images = np.stack([result.snapshots[step][task, image] for step in steps])
    return contact_sheet(images, [f"step {step}" for step in steps], columns=len(steps), title=title)


def comparison(
    rows: Mapping[str, Pictures] | Sequence[Pictures],
    names: Sequence[str] | None = None,
    row_names: Sequence[str] | None = None,
    *,
    title: str = "",
) -> Image.Image:
    """Draw a table of pictures: a row for each method or setting, a column for each picture.

    Args:
        rows: `{name: pictures}`, or a list of pictures. Pictures are a RenderResult, or floats in
            [0, 1] `[N, H, W, C]` or `[N, B, H, W, C]` (the B side by side), with C as in
            `contact_sheet`. N is the same in all rows; sizes may differ. `{f"rate {r}":
            render(model, "mixed4a:0-5", optimizer=optax.adam(r)) for r in (0.01, 0.05)}`
            compares two learning rates.
        names: N names above the columns; by default those of the first RenderResult, if there is
            one.
        row_names: names at the left; by default the keys of `rows`.
        title: a line at the top.

    Returns: a Pillow image.

    Raises:
        ValueError: if there are no rows, if they have different N, or if there are more or fewer
            names than pictures.

    Example:
        >>> import jax
        >>> from jaxlens import attribution, plot
        >>> images = jax.random.uniform(jax.random.key(0), (3, 24, 32, 3))
        >>> rows = {"photo": images, "blurred": attribution.metrics.blurred(images, 2)}
        >>> plot.comparison(rows, ["dog", "cat", "fish"]).save("comparison.png")
    """
    if not isinstance(rows, Mapping | Sequence) or isinstance(rows, str | bytes):
        raise TypeError(f"rows={shortened(rows)} must be {{name: pictures}}, or a list of pictures.")
    keys = list(rows) if isinstance(rows, Mapping) else None
    values = list(rows.values()) if isinstance(rows, Mapping) else list(rows)
    if not values:
        raise ValueError("rows is empty: give at least one, such as {'pixels': images}.")
    places = [f"rows[{key!r}]" for key in keys or range(len(values))]
    tiles = [to_tiles(_images(value), place) for place, value in zip(places, values, strict=True)]
    for place, row in zip(places, tiles, strict=True):
        if len(row) != len(tiles[0]):
            raise ValueError(f"{place} has {len(row)} pictures, but {places[0]} has {len(tiles[0])}: all need as many.")
    if names is None:
        names = next((value.names for value in values if isinstance(value, RenderResult)), None)
    left = check_names(row_names, "row_names", len(tiles), "rows") or [str(key) for key in keys or []]
    above = check_names(names, "names", len(tiles[0]), "columns")
    return _table(tiles, above, left, title)


def interaction_grid(result: RenderResult, rows: Names, columns: Names, *, title: str = "") -> Image.Image:
    """Draw the pictures of `recipes.interactions` as a table, with the names of its objectives.

    The names of the row objectives stand at the left, those of the column objectives at the top.

    Args:
        result: the tasks, row by row.
        rows, columns: lists of names; or how many rows and columns there are: their names are then
            taken from those of the tasks, "row + column".
        title: a line at the top.

    Returns: a Pillow image.

    Raises:
        ValueError: if rows times columns is not the number of tasks, or their names are not
            "row + column".
        TypeError: if `rows` or `columns` is a single string.

    Example:
        >>> from jaxlens import Model, modelzoo, plot, recipes
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> result = recipes.interactions(model, "conv3:0-2", "conv3:7,9", size=(24, 32), steps=2)
        >>> plot.interaction_grid(result, 3, 2).save("interactions.png")
    """
    n, m = _count(rows, "rows"), _count(columns, "columns")
    if n * m != len(_check_result(result).names):
        raise ValueError(f"result has {len(result.names)} tasks, but {n} rows times {m} columns make {n * m}.")
    left: Any = rows
    above: Any = columns
    if isinstance(rows, int) or isinstance(columns, int):
        found = _parts(result.names, n, m)
        left, above = (own if isinstance(given, int) else given for own, given in zip(found, (rows, columns), strict=True))
    tiles = to_tiles(result.images, "result.images")
    return _table([tiles[i * m : (i + 1) * m] for i in range(n)], list(above), list(left), title)


def _table(rows: list[np.ndarray], above: list[str] | None, left: list[str], title: str) -> Image.Image:
    """Draw rows of equally many pictures, with names above the first row only."""
    return grid([list(row) for row in rows], [above, *[None] * (len(rows) - 1)], left, title)


def _check_result(result: Any) -> RenderResult:
    if not isinstance(result, RenderResult):
        raise TypeError(f"result={shortened(result)} must be a RenderResult, which `render` and recipes return.")
    return result


def _images(value: Any) -> Any:
    return value.images if isinstance(value, RenderResult) else value


def _count(value: Any, name: str) -> int:
    if isinstance(value, str):
        raise TypeError(f"{name}={value!r} must be a list of names or their number.")
    return len(value) if isinstance(value, Sequence) else check_int(value, name, low=1)


def _parts(names: Sequence[str], rows: int, columns: int) -> tuple[list[str], list[str]]:
    """Return the names of rows and columns, given tasks' names "row + column".

    A row's or a column's own name may hold a " + " too.
    """
    terms = names[0].split(" + ")
    for i in range(1, len(terms)):
        first, second = " + ".join(terms[:i]) + " + ", " + " + " + ".join(terms[i:])
        left = [name.removesuffix(second) for name in names[::columns]]
        above = [name.removeprefix(first) for name in names[:columns]]
        if list(names) == [f"{a} + {b}" for a in left for b in above]:
            return left, above
    raise ValueError(
        f"result.names are not 'row + column', such as {names[0]!r}: give the {rows} rows and {columns} columns as lists "
        "of names."
    )
