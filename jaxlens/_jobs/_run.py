"""Make the missing items of a folder, chunk by chunk, beside any number of other processes."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax

from jaxlens._interrupt import deferred_interrupt
from jaxlens._jobs import _manifest
from jaxlens._jobs._chunks import Chunk, claim, split, tidy
from jaxlens._jobs._manifest import Manifest
from jaxlens._progress import progress_bar

_PAUSE = 1.0  # seconds between looks at chunks that other processes are making


@runtime_checkable
class Maker(Protocol):
    """Make, check and write the items of a job, each given by its group and number.

    Attributes:
        unit: the word for an item in the progress bar, such as "neuron".
        stored: the word for an item's file in errors, such as "tile".
    """

    unit: str
    stored: str

    def path(self, group: str, item: int) -> Path:
        """Return the file of an item, in the job's folder."""
        ...

    def whole(self, group: str, item: int) -> bool:
        """Return whether the file exists, finished and undamaged.

        Raises:
            ValueError: if it has other settings, or no file can be written there.
        """
        ...

    def make(self, chunk: Chunk, missing: list[int]) -> list[tuple[int, Any]] | None:
        """Make a whole chunk and return the missing items with their numbers; None after Ctrl-C."""
        ...

    def write(self, group: str, item: int, made: Any) -> None:
        """Write an item that `make` returned, whole or not at all."""
        ...


@dataclasses.dataclass(frozen=True)
class Made:
    """The result of one call of `run`.

    Attributes:
        count: how many items it wrote.
        finished: whether every item of this process' part exists. False after Ctrl-C, or if the
            folder was removed meanwhile.
    """

    count: int
    finished: bool


def run(maker: Maker, folder: Path, mine: Manifest, *, progress: bool = True) -> Made:
    """Make the items of a manifest that are missing in a folder.

    The folder is the job's memory. After an interruption of any kind the same call goes on where it
    was: finished items stay, and items in flight are made again, by the same chunks. Any number of
    processes may run the same call on one folder, also on several machines that share it: each
    claims a chunk with a file lock, which the system frees when a process dies. Under
    `jax.distributed` each process makes its own slice of the chunks, so that the folder need not be
    shared. Later calls may add groups. The manifest is written with the first finished items; a
    folder of other settings is refused.

    Args:
        maker: makes, checks and writes items.
        folder: it is made if it is missing.
        mine: settings and items of this call.
        progress: show a bar over all items, with the time left.

    Raises:
        ValueError: if the folder was begun with other settings.
        OSError: if the folder cannot be written to, or the disk is full. Finished items stay, and
            the same call goes on.
    """
    with _explained(maker, folder, []):
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        shared = _manifest.find(folder, mine)
    work = _Work(maker, folder, mine, shared, progress)
    try:
        with deferred_interrupt() as pressed:
            finished = work.run(pressed)
    except KeyboardInterrupt:
        finished = False
    finally:
        tidy(folder, made)
    return Made(work.count, finished)


class _OtherChunks(Exception):
    """Another process began the folder meanwhile, with another chunk size."""


@dataclasses.dataclass
class _Work:
    """The work of one call, and how much of it is done."""

    maker: Maker
    folder: Path
    mine: Manifest
    shared: Manifest
    progress: bool
    count: int = 0

    @property
    def chunks(self) -> list[Chunk]:
        """The chunks of this process."""
        parts = [part for name, items in self.mine.groups.items() for part in split(name, items, self.shared.chunk)]
        return parts[jax.process_index() :: jax.process_count()]

    def run(self, pressed: Callable[[], bool]) -> bool:
        """Make what is missing; return whether all of it is there."""
        while True:
            try:
                return self.once(pressed)
            except _OtherChunks:
                continue

    def once(self, pressed: Callable[[], bool]) -> bool:
        chunks = self.chunks
        absent = {part: len(self.missing(part)) for part in chunks}
        total, left = sum(len(part.items) for part in chunks), sum(absent.values())
        waiting = [part for part in chunks if absent[part]]
        compiled: set[str] = set()
        with progress_bar(total, self.maker.unit, self.progress, total - left) as bar:
            while waiting and not pressed():
                busy: list[Chunk] = []
                for part in waiting:
                    if pressed():
                        return False
                    with _explained(self.maker, self.folder, chunks), claim(self.folder, part) as ours:
                        if not ours:
                            busy.append(part)
                            continue
                        if wanting := self.missing(part):
                            if part.group not in compiled:
                                compiled.add(part.group)
                                bar.compiling()
                            if not self.make(part, wanting):
                                return False
                    bar.update(absent[part], part.group)
                if len(busy) == len(waiting):
                    time.sleep(_PAUSE)
                waiting = busy
        if chunks:
            with _explained(self.maker, self.folder, chunks):
                if _manifest.read(self.folder) is None or set(self.mine.groups) - set(self.shared.groups):
                    _manifest.create_or_extend(self.folder, self.mine)
        return not any(self.missing(part) for part in chunks)

    def missing(self, part: Chunk) -> list[int]:
        return [item for item in part.items if not self.maker.whole(part.group, item)]

    def make(self, part: Chunk, wanting: list[int]) -> bool:
        """Make and write the missing items of a claimed chunk; return False after Ctrl-C."""
        for item in wanting:  # left by a process that was killed: the chunk is ours alone
            path = self.maker.path(part.group, item)
            for half in path.parent.glob(f".{path.name}.*.part"):
                half.unlink(missing_ok=True)
        made = self.maker.make(part, wanting)
        if made is None:
            return False
        if not self.count:  # with the first items, the manifest
            joined = _manifest.create_or_extend(self.folder, self.mine)
            other, self.shared = joined.chunk != self.shared.chunk, joined
            if other:
                raise _OtherChunks
        for item, value in made:
            self.maker.write(part.group, item, value)
            self.count += 1
        return True


@contextlib.contextmanager
def _explained(maker: Maker, folder: Path, chunks: list[Chunk]) -> Iterator[None]:
    """Turn a full disk or a read-only folder into an error with what is kept and what to do."""
    try:
        yield
    except OSError as error:
        paths = [maker.path(chunk.group, item) for chunk in chunks for item in chunk.items]
        kept = (
            f"{sum(path.exists() for path in paths)} of {len(paths)} {maker.stored}s are finished and stay"
            if paths
            else "Nothing is lost"
        )
        raise OSError(
            error.errno,
            f"out={str(folder)!r} cannot be written to ({error.strerror or error}). {kept}. "
            "Make room or allow writing, and run the same again to go on.",
        ) from error
