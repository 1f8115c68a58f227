"""Contact sheets: many pictures with their names."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from jaxlens._checks import check_int
from jaxlens.plot._grid import check_names, grid, to_tiles


def contact_sheet(
    images: np.ndarray, names: Sequence[str] | None = None, *, columns: int | None = None, title: str = ""
) -> Image.Image:
    """Pictures in a grid, pixel for pixel, each with its name above.

    Args:
        images: floats in [0, 1], `[N, H, W, 3]`, or `[N, B, H, W, 3]` as in `RenderResult.images`: the B
            images of a task then stand side by side. Four channels are red, green, blue and alpha, shown on white.
        names: one per picture; long ones are shortened in the middle.
        columns: by default as many as make the sheet about square, so that a layer's channels align.
        title: a line at the top.

    Returns: a Pillow image; `.save("sheet.png")` writes it.
    """
    tiles = to_tiles(images)
    names = check_names(names, "names", len(tiles), "images") or [""] * len(tiles)
    height, width = tiles.shape[1:3]
    columns = (
        check_int(columns, "columns", low=1)
        if columns is not None
        else max(1, min(len(tiles), round(math.sqrt(len(tiles) * height / width))))
    )
    starts = range(0, len(tiles), columns)
    return grid([list(tiles[i : i + columns]) for i in starts], [names[i : i + columns] for i in starts], [], title)
