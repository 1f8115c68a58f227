"""One file for each neuron: a PNG that knows which neuron it shows, its score, and the settings it was rendered with."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from jaxlens._checks import check_flag, check_path
from jaxlens._files import atomic, folder_name
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
        finished: False if Ctrl-C came before the last step.
        image: bytes `[H, W, C]`, C being 3, 1 for grey or 4 with opacity; None if only the rest was asked for. Images of one
            task stand side by side, and so do the channels, each in grey, where a network takes neither 1 nor 3.
    """

    layer: str
    channel: int
    score: float
    seed: int
    settings: str
    failed_at: int = -1
    finished: bool = True
    image: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)


_KINDS = {
    "layer": str,
    "channel": int,
    "score": float,
    "seed": int,
    "settings": str,
    "failed_at": int,
    "finished": bool,
}


def tile_path(folder: Path, layer: str, channel: int) -> Path:
    """Where a neuron's tile is: `FOLDER/LAYER/CHANNEL.png`."""
    return folder / folder_name(layer) / f"{channel:04d}.png"


def picture(images: np.ndarray, channels: int) -> np.ndarray:
    """The images of one task `[B, H, W, C]` as one picture `[H, W, 1 | 3 | 4]` for a network of so many channels.

    Four channels are colour and opacity unless the network itself takes four. Images, and channels that are no colours, stand
    side by side.
    """
    count = images.shape[-1]
    if count not in (1, 3) and not (count == 4 and channels != 4):
        images = np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3], 1)
    return np.concatenate(list(images), axis=1)


def encode(tile: Tile) -> tuple[Image.Image, PngImagePlugin.PngInfo]:
    """A tile's pixels, and what a PNG says of them."""
    if tile.image is None:
        raise ValueError(f"{tile} has no image to write.")
    pixels = tile.image if tile.image.dtype == np.uint8 else to_uint8(tile.image)
    about = {f.name: getattr(tile, f.name) for f in dataclasses.fields(tile) if f.name != "image"}
    info = PngImagePlugin.PngInfo()
    info.add_text(_KEY, json.dumps(about | {"pixels": _digest(pixels)}))
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels), info


def write_tile(path: Path, tile: Tile) -> Path:
    """Writes a tile, whole or not at all."""
    drawn, info = encode(tile)
    with atomic(path) as part:
        drawn.save(part, format="PNG", pnginfo=info)
    return path


def read_tile(path: str | Path, *, image: bool = True) -> Tile:
    """A tile from its file, whose pixels are those that were written.

    Args:
        path: of the PNG.
        image: keep the pixels.

    Raises:
        ValueError: if the file is damaged, was changed, or is not a tile.
        FileNotFoundError: if there is none.
    """
    path, image = check_path(path, "path"), check_flag(image, "image")
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            about: dict[str, Any] = json.loads(opened.info[_KEY])
            pixels = np.asarray(opened)
        if about.pop("pixels") != _digest(pixels := pixels[..., None] if pixels.ndim == 2 else pixels):
            raise ValueError("its pixels are not those that were written")
        tile = Tile(**about, image=pixels if image else None)
        for name, kind in _KINDS.items():
            if type(getattr(tile, name)) is not kind:
                raise TypeError(f"{name} is {getattr(tile, name)!r}")
        return tile
    except (FileNotFoundError, PermissionError):
        raise
    # Pillow raises SyntaxError for damaged chunks, and ValueError, OSError or struct's own for others.
    except Exception as error:
        raise ValueError(f"path={str(path)!r} is not a whole tile of jaxlens ({error}).") from error


def _digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]
