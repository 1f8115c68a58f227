"""Pictures in rows, with names above and beside them: the layout that all tables share."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxlens._checks import as_array, check_finite, check_text, shortened
from jaxlens.data import to_uint8

MARGIN = 8
LABEL = 240  # the most width of a name beside a row, unless pictures are wider
INK, PAPER = (34, 34, 34), (255, 255, 255)


def check_names(names: Any, argument: str, count: int, what: str) -> list[str] | None:
    """Return `count` names as a list of text, or None where there are none."""
    if names is None:
        return None
    if isinstance(names, str | bytes) or not isinstance(names, Sequence | np.ndarray):
        raise TypeError(f"{argument}={shortened(names)} must be a list of {count} names.")
    if len(names) != count:
        raise ValueError(f"{argument} has {len(names)} entries for {count} {what}.")
    return [str(name) for name in names]


def to_tiles(images: Any, name: str = "images") -> np.ndarray:
    """Return pictures as uint8 `[N, H, W, 3]`.

    They are floats `[N, H, W, C]`, or `[N, B, H, W, C]` with the B side by side. One channel is
    gray. Four channels are laid on white by the last: `alpha * rgb + 1 - alpha`.
    """
    images = np.asarray(check_finite(as_array(images, name, "pictures [N, H, W, C]"), name))
    if images.ndim not in (4, 5) or 0 in images.shape:
        raise ValueError(f"{name} has shape {images.shape}, but [N, H, W, C] or [N, B, H, W, C] with N >= 1 is needed.")
    if images.ndim == 5:
        images = np.concatenate(list(np.moveaxis(images, 1, 0)), axis=2)
    if images.shape[-1] not in (1, 3, 4):
        first = f" It looks channels-first: use np.moveaxis({name}, -3, -1)." if images.shape[1] in (1, 3, 4) else ""
        raise ValueError(f"{name} has shape {images.shape}, but 1, 3 or 4 channels are needed.{first}")
    if images.shape[-1] == 4:
        rgba = np.clip(images, 0, 1)
        images = rgba[..., 3:] * rgba[..., :3] + (1 - rgba[..., 3:])
    return np.broadcast_to(to_uint8(images), (*images.shape[:-1], 3))


def grid(
    tiles: Sequence[Sequence[np.ndarray]], above: Sequence[Sequence[str] | None], left: Sequence[str], title: str
) -> Image.Image:
    """Draw rows of pictures, pixel for pixel.

    All columns are as wide as the widest picture, each row is as high as its highest.

    Args:
        tiles: for each row its pictures, uint8 `[h, w, 3]`.
        above: for each row the names of its pictures, or None for no line of names.
        left: for each row its name, or nothing for no column of names.
        title: a line at the top.
    """
    check_text(title, "title")
    heights = [max(tile.shape[0] for tile in row) for row in tiles]
    width = max(tile.shape[1] for row in tiles for tile in row)
    font = ImageFont.load_default(size=max(10, min(16, max(heights) // 9)))
    line = round(font.getbbox("Ag")[3]) + 4
    labels = [_shortened(name, max(width, LABEL), font) for name in left]
    beside = max((math.ceil(font.getlength(label)) for label in labels), default=0)
    start = MARGIN + (beside + MARGIN if beside else 0)
    lines = [0 if names is None else line for names in above]
    y = MARGIN + (line + MARGIN if title else 0)
    # A narrow table still has room for its title.
    full = max(start + max(map(len, tiles)) * (width + MARGIN), 2 * MARGIN + math.ceil(font.getlength(title)))
    sheet = Image.new("RGB", (full, y + sum(heights) + sum(lines) + MARGIN * len(tiles)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, font)
    for r, row in enumerate(tiles):
        top = y + lines[r]
        if labels:
            draw.text((MARGIN, top + max(0, heights[r] - line) // 2), labels[r], INK, font)
        for c, tile in enumerate(row):
            x = start + c * (width + MARGIN)
            if names := above[r]:
                draw.text((x, y), _shortened(names[c], width, font), INK, font)
            sheet.paste(Image.fromarray(np.ascontiguousarray(tile)), (x, top))
        y = top + heights[r] + MARGIN
    return sheet


def _shortened(name: str, width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """Return the name, with its middle left out if it is wider than `width`."""
    keep = len(name)
    short = name
    while font.getlength(short) > width and keep > 2:
        keep -= 1
        short = f"{name[: keep // 2]}…{name[-(keep - keep // 2) :]}"
    return short
