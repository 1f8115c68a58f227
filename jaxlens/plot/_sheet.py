"""Contact sheets: many pictures with their names."""

import math
from collections.abc import Sequence

from PIL import Image

from jaxlens._checks import check_int
from jaxlens._types import Images
from jaxlens.plot._grid import check_names, grid, to_tiles


def contact_sheet(
    images: Images, names: Sequence[str] | None = None, *, columns: int | None = None, title: str = ""
) -> Image.Image:
    """Draw pictures in a grid, pixel for pixel, each with its name above.

    Args:
        images: floats in [0, 1], `[N, H, W, 3]`, or `[N, B, H, W, 3]` as in `RenderResult.images`:
            the B images of a task then stand side by side. One channel is gray; four are red,
            green, blue and alpha, shown on white.
        names: one per picture; long names are shortened in the middle.
        columns: pictures per row. By default the sheet is about square.
        title: a line at the top.

    Returns: a Pillow image; `.save("sheet.png")` writes it.

    Example:
        >>> import jax
        >>> from jaxlens import plot
        >>> images = jax.random.uniform(jax.random.key(0), (6, 24, 32, 3))  # or result.images
        >>> names = [f"mixed4a:{channel}" for channel in range(6)]  # or result.names
        >>> plot.contact_sheet(images, names, columns=3, title="mixed4a").save("sheet.png")
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
