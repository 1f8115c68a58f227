"""Contact sheets: many pictures with their names."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxlens.data import to_uint8

MARGIN = 8
INK, PAPER = (34, 34, 34), (255, 255, 255)


def contact_sheet(
    images: np.ndarray, names: Sequence[str] | None = None, *, columns: int | None = None, title: str = ""
) -> Image.Image:
    """Pictures in a grid, pixel for pixel, each with its name above.

    Args:
        images: floats in [0, 1], `[N, H, W, 3]`, or `[N, B, H, W, 3]` as in `RenderResult.images`: the B
            images of a task then stand side by side.
        names: one per picture; long ones are shortened in the middle.
        columns: by default as many as make the sheet about square, so that a layer's channels align.
        title: a line at the top.

    Returns: a Pillow image; `.save("sheet.png")` writes it.
    """
    images = np.asarray(images)
    if images.ndim == 5:
        images = np.concatenate(list(np.moveaxis(images, 1, 0)), axis=2)
    if images.ndim != 4 or not len(images):
        raise ValueError(f"images has shape {images.shape}, but [N, H, W, C] or [N, B, H, W, C] with N >= 1 is needed.")
    names = [""] * len(images) if names is None else list(names)
    if len(names) != len(images):
        raise ValueError(f"names has {len(names)} entries for {len(images)} images.")
    tiles, (height, width) = to_uint8(images), images.shape[1:3]
    columns = columns or max(1, min(len(tiles), round(math.sqrt(len(tiles) * height / width))))
    rows = -(-len(tiles) // columns)
    font = ImageFont.load_default(size=max(10, min(16, height // 9)))
    line = round(font.getbbox("Ag")[3]) + 4
    top = MARGIN + (line + MARGIN if title else 0)
    cell = (width + MARGIN, height + line + MARGIN)
    # A narrow sheet still has room for its title.
    full = max(MARGIN + columns * cell[0], 2 * MARGIN + math.ceil(font.getlength(title)))
    sheet = Image.new("RGB", (full, top + rows * cell[1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for i, (tile, name) in enumerate(zip(tiles, names, strict=True)):
        x, y = MARGIN + i % columns * cell[0], top + i // columns * cell[1]
        draw.text((x, y), _shortened(name, width, font), INK, font)
        sheet.paste(Image.fromarray(tile.squeeze(-1) if tile.shape[-1] == 1 else tile), (x, y + line))
    return sheet


def _shortened(name: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The name, with its middle left out if it is wider than `width`."""
    keep = len(name)
    short = name
    while font.getlength(short) > width and keep > 2:
        keep -= 1
        short = f"{name[: keep // 2]}…{name[-(keep - keep // 2) :]}"
    return short
