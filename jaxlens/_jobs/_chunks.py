"""Chunks: items that one process at a time claims and makes together."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import filelock

from jaxlens._files import folder_name


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Items of one group that are claimed and made together, always the same ones.

    So an item that is made after an interruption is, to the last bit, the one that would have been
    made without it.

    Attributes:
        group: the group of the items.
        items: the numbers of the items that this call wants.
        number: the chunk covers items `number * n` to `number * n + n - 1`, n being the folder's
            chunk size, whichever of them this call asked for.
        size: how many items are made, counting repetitions. It is the same for all chunks of a
            group, so that they share one program.
    """

    group: str
    items: tuple[int, ...]
    number: int
    size: int

    @property
    def name(self) -> str:
        return f"{folder_name(self.group)}-{self.number}"


def split(group: str, items: Sequence[int], most: int) -> list[Chunk]:
    """Return the chunks of a group, with at most `most` items in each."""
    cells: dict[int, list[int]] = {}
    for item in items:
        cells.setdefault(item // most, []).append(item)
    size = max(map(len, cells.values()), default=0)
    return [Chunk(group, tuple(members), number, size) for number, members in cells.items()]


@contextlib.contextmanager
def claim(folder: Path, chunk: Chunk) -> Iterator[bool]:
    """Yield whether this process alone may make a chunk during the `with` block."""
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
        # A process that opened this file before, or makes it again, finds the finished items, or
        # meets the error that ended this block.
        path.unlink(missing_ok=True)
        lock.release()


def tidy(folder: Path, made: Sequence[Path]) -> None:
    """Remove the folder of claims, and the folders that this process made, if they are empty."""
    for path in (folder / ".claims", *made):
        try:
            path.rmdir()
        except OSError:  # somebody's claims, or items
            if path in made:
                return
