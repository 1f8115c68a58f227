"""Pictures in and out: read at a size, written whole, never over a more finished picture."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from jaxlens._files import atomic
from jaxlens.data import load_image
from jaxlens.microscope import Tile, read_tile
from jaxlens.plot import contact_sheet

SIZE = 320  # longest side of pictures unless told
_SHEET = "jaxlens-sheet"


def read(path: Path, size: int | None, network: Any, own: tuple[int, int] | None = None) -> np.ndarray:
    """Return a picture whose longest side is `size`, with its aspect ratio.

    A network that takes images of one size only gets the middle of the picture in that size.

    Args:
        path: The picture.
        size: The longest side in pixels; None for the default.
        network: The Model that will see the picture.
        own: The size of an imported network. Its longer side is then the default.
    """
    if size is None and network.fixed_size:
        return crop(path, network.input_size)
    height, width = load_image(path).shape[:2]
    scale = (size or max(own or (SIZE,))) / max(height, width)
    return load_image(path, (max(1, round(height * scale)), max(1, round(width * scale))))


def crop(path: Path, size: Sequence[int]) -> np.ndarray:
    """Return the middle of a picture at a (height, width), with its aspect ratio."""
    if size[0] == size[1]:
        return load_image(path, int(size[0]))
    height, width = load_image(path).shape[:2]
    scale = max(size[0] / height, size[1] / width)
    whole = load_image(path, (max(size[0], round(height * scale)), max(size[1], round(width * scale))))
    top, left = (whole.shape[0] - size[0]) // 2, (whole.shape[1] - size[1]) // 2
    return whole[top : top + size[0], left : left + size[1]]


def by_shape(pictures: Sequence[np.ndarray]) -> list[list[int]]:
    """Group the places of pictures by shape. One program serves a group."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, each in enumerate(pictures):
        groups.setdefault(each.shape, []).append(place)
    return list(groups.values())


def save_picture(path: Path, drawn: Image.Image, finished: bool, **options: Any) -> bool:
    """Write a picture whole, and return whether it was written.

    An unfinished picture replaces no file.
    """
    if not finished and path.exists():
        return False
    kind = Image.registered_extensions()[path.suffix.lower()]
    with atomic(path) as part:
        drawn.save(part, format=kind, **options)
    return True


def finished_tile(path: Path) -> Tile | None:
    """Return the finished tile in a file; None if the file is none."""
    try:
        tile = read_tile(path)
    except (OSError, ValueError):
        return None
    return tile if tile.finished else None


@dataclasses.dataclass(frozen=True)
class Sheet:
    """What a contact sheet stores about itself.

    Attributes:
        settings: The hash of the settings of its tiles.
        names: The names of its pictures, in order.
        finished: Whether all pictures are finished.
    """

    settings: str
    names: tuple[str, ...]
    finished: bool


def read_sheet(path: Path) -> Sheet | None:
    """Return what the sheet in a file stores about itself; None if it is no sheet of jaxlens."""
    try:
        with Image.open(path, formats=["PNG"]) as file:
            about = json.loads(file.info[_SHEET])
        return Sheet(str(about["settings"]), tuple(map(str, about["names"])), bool(about["finished"]))
    except Exception:  # the file may hold anything
        return None


def write_sheet(path: Path, images: np.ndarray, labels: Sequence[str], sheet: Sheet, title: str) -> Path:
    """Write a contact sheet.

    It gets another name where `path` holds a sheet with pictures that this one lacks, or a file
    that is no sheet of jaxlens. An unfinished sheet replaces no finished one.

    Returns:
        The path of the sheet, or that of the finished sheet that stays.
    """
    target, number = path, 1
    while True:
        there = read_sheet(target)
        if there is not None and there.finished and not sheet.finished:
            return target
        same = there is not None and (set(there.names) <= set(sheet.names) or not there.finished)
        if same or not (target.exists() or target.is_symlink()):
            break
        number += 1
        target = path.with_name(f"{path.stem}-{number}{path.suffix}")
    info = PngImagePlugin.PngInfo()
    info.add_text(_SHEET, json.dumps(dataclasses.asdict(sheet)))
    drawn = contact_sheet(images, list(labels), title=title)
    with atomic(target) as part:
        drawn.save(part, format="PNG", pnginfo=info)
    return target
