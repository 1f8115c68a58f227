"""Neurons that are claimed and rendered together, by one process at a time."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import filelock

from jaxlens.microscope._tile import folder_name, read_tile, tile_path


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Neurons of one layer that are claimed and rendered together, always the same ones: so a tile that is
    rendered after an interruption is, to the last bit, the one that would have been rendered without.

    Attributes:
        layer: whose.
        channels: which of them this call wants.
        number: channels number * n to number * n + n - 1 belong to it, n being the folder's, whoever wants which of them.
        size: how many are rendered, counting repetitions; the same for all chunks, so that one program serves them.
    """

    layer: str
    channels: tuple[int, ...]
    number: int
    size: int

    @property
    def name(self) -> str:
        return f"{folder_name(self.layer)}-{self.number}"


def split(layer: str, channels: list[int], most: int) -> list[Chunk]:
    """The chunks of a layer, at most so many neurons in each."""
    cells: dict[int, list[int]] = {}
    for channel in channels:
        cells.setdefault(channel // most, []).append(channel)
    size = max(map(len, cells.values()), default=0)
    return [Chunk(layer, tuple(members), number, size) for number, members in cells.items()]


def missing(folder: Path, chunk: Chunk, settings: str, shape: tuple[int, ...]) -> list[int]:
    """Channels without a whole, finished tile of the neuron, of pictures of a shape."""
    absent = []
    for channel in chunk.channels:
        path = tile_path(folder, chunk.layer, channel)
        if path.is_dir():
            raise ValueError(f"{str(path)!r} is a folder where a tile is to be written. Move it elsewhere.")
        try:
            tile = read_tile(path)
        except (FileNotFoundError, ValueError):  # a damaged one is rendered again
            absent.append(channel)
            continue
        if tile.settings != settings:
            raise ValueError(f"{path} was rendered with other settings than {path.parents[1]}. Move it elsewhere.")
        whole = tile.finished and tile.image is not None and tile.image.shape[:2] == shape[:2]
        if not whole or (tile.layer, tile.channel) != (chunk.layer, channel):
            absent.append(channel)
    return absent


@contextlib.contextmanager
def claim(folder: Path, chunk: Chunk) -> Iterator[bool]:
    """Whether this process alone may render a chunk, for as long as the `with` block lasts."""
    path = folder / ".claims" / f"{chunk.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # Whoever opened this file before, or makes it again, finds the tiles there, or meets the error that ended this.
        path.unlink(missing_ok=True)
        lock.release()


def tidy(folder: Path, made: list[Path]) -> None:
    """Removes the folder of claims, and folders that this process made, as far as they are empty."""
    for path in (folder / ".claims", *made):
        try:
            path.rmdir()
        except OSError:  # somebody's claims, or tiles
            if path in made:
                return
