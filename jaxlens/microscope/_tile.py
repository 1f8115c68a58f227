"""One file for each neuron: a PNG that knows which neuron it shows, its score, and the settings it was rendered with."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from jaxlens._files import atomic
from jaxlens.data import to_uint8

_KEY = "jaxlens"


@dataclasses.dataclass(frozen=True)
class Tile:
    """A rendered neuron.

    Attributes:
        layer, channel: which one.
        score: its mean activation over the last steps, as the network saw the image, moved about by the transforms.
        seed: of the render.
        settings: the hash of all settings; tiles of one folder share it.
        failed_at: the step at which it became NaN or infinite, or -1; the image is then the last good one.
        image: `[H, W, 3]`, bytes; None if only the rest was asked for.
    """

    layer: str
    channel: int
    score: float
    seed: int
    settings: str
    failed_at: int = -1
    image: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)


def tile_path(folder: Path, layer: str, channel: int) -> Path:
    """Where a neuron's tile is: `FOLDER/LAYER/CHANNEL.png`."""
    return folder / folder_name(layer) / f"{channel:04d}.png"


def folder_name(layer: str) -> str:
    """A layer's name as that of a folder."""
    return re.sub(r"[^\w.@-]", "-", layer)


def write_tile(folder: Path, tile: Tile) -> Path:
    """Writes a tile, whole or not at all."""
    if tile.image is None:
        raise ValueError(f"{tile} has no image to write.")
    path = tile_path(folder, tile.layer, tile.channel)
    about = {f.name: getattr(tile, f.name) for f in dataclasses.fields(tile) if f.name != "image"}
    info = PngImagePlugin.PngInfo()
    info.add_text(_KEY, json.dumps(about))
    with atomic(path) as part:
        Image.fromarray(to_uint8(tile.image)).save(part, format="PNG", pnginfo=info)
    return path


def read_tile(path: str | Path, *, image: bool = True) -> Tile:
    """A tile from its file.

    Args:
        path: of the PNG.
        image: read the pixels too; without them only the file's checksums are verified, which is quicker.

    Raises:
        ValueError: if the file is damaged or not a tile.
        FileNotFoundError: if there is none.
    """
    try:
        with Image.open(path) as opened:
            about: dict[str, Any] = json.loads(opened.info[_KEY])
            if image:
                return Tile(**about, image=np.asarray(opened.convert("RGB")))
            opened.verify()
            return Tile(**about)
    except (FileNotFoundError, PermissionError):
        raise
    # Pillow raises SyntaxError for damaged chunks, and ValueError, OSError or struct's own for others.
    except Exception as error:
        raise ValueError(f"path={str(path)!r} is not a whole tile of jaxlens ({error}).") from error
