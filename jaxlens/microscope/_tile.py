"""One PNG for each neuron, with the neuron, its score and the hash of the settings inside."""

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
        layer, channel: The neuron.
        score: Its mean activation over the last steps, on the images that the network saw, which
            the transforms had moved.
        seed: The seed of the render.
        settings: The hash of all settings. The tiles of a folder share it.
        failed_at: The step at which the image became NaN or infinite, or -1. The image is then the
            last good one.
        finished: False if Ctrl-C came before the last step.
        image: Bytes `[H, W, C]`. C is 3, 1 for gray, or 4 with opacity. None if `read_tile` was
            asked to leave it out. Images of one task stand side by side. So do the channels, each
            in gray, of a network that takes neither 1 nor 3.

    Example:
        >>> from jaxlens.microscope import Tile
        >>> tile = Tile("mixed4a", 17, score=2.5, seed=0, settings="5f0c")
        >>> tile.finished, tile.failed_at
        (True, -1)
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
    """Return the path of a neuron's tile, `FOLDER/LAYER/CHANNEL.png`."""
    return folder / folder_name(layer) / f"{channel:04d}.png"


def picture(images: np.ndarray, channels: int) -> np.ndarray:
    """Return the images of one task `[B, H, W, C]` as one picture `[H, W, 1 | 3 | 4]`.

    Four channels are color and opacity, unless the network itself takes four (`channels`). Images
    stand side by side, and so do channels that are no colors.
    """
    count = images.shape[-1]
    if count not in (1, 3) and not (count == 4 and channels != 4):
        images = np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3], 1)
    return np.concatenate(list(images), axis=1)


def encode(tile: Tile) -> tuple[Image.Image, PngImagePlugin.PngInfo]:
    """Return a tile as a Pillow image and the text chunks of its PNG."""
    if tile.image is None:
        raise ValueError(f"{tile} has no image to write.")
    pixels = tile.image if tile.image.dtype == np.uint8 else to_uint8(tile.image)
    about = {f.name: getattr(tile, f.name) for f in dataclasses.fields(tile) if f.name != "image"}
    info = PngImagePlugin.PngInfo()
    info.add_text(_KEY, json.dumps(about | {"pixels": _digest(pixels)}))
    return Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels), info


def write_tile(path: Path, tile: Tile) -> Path:
    """Write a tile, whole or not at all."""
    drawn, info = encode(tile)
    with atomic(path) as part:
        drawn.save(part, format="PNG", pnginfo=info)
    return path


def read_tile(path: str | Path, *, image: bool = True) -> Tile:
    """Read a tile from its file, and check that its pixels are those that were written.

    Args:
        path: The PNG.
        image: Keep the pixels.

    Raises:
        ValueError: If the file is damaged, was changed, or is not a tile.
        FileNotFoundError: If there is no file.

    Example:
        >>> from jaxlens import Model, microscope, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> options = {"channels": [3], "size": (24, 32), "steps": 2, "progress": False}
        >>> job = microscope.render_layers(model, ["conv1"], "tiles", **options)
        >>> tile = microscope.read_tile("tiles/conv1/0003.png")
        >>> tile.layer, tile.channel, tile.image.shape
        ('conv1', 3, (24, 32, 3))
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
    # Pillow raises SyntaxError for damaged chunks, and ValueError, OSError or struct.error for
    # others.
    except Exception as error:
        raise ValueError(f"path={str(path)!r} is not a whole tile of jaxlens ({error}).") from error


def _digest(pixels: np.ndarray) -> str:
    """Return a hash of the pixels."""
    return hashlib.sha256(f"{pixels.shape}".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]
