"""The cache folder, and files that are either whole or not there."""

import contextlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import platformdirs

_STALE_SECONDS = 24 * 3600


def cache_dir() -> Path:
    """The folder for converted weights and datasets: `JAXLENS_CACHE` if that is set, else the user's cache folder.

    Deleting it, or any file in it, is safe: what is needed is fetched again.
    """
    chosen = os.environ.get("JAXLENS_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("jaxlens", appauthor=False)


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """The name of a hidden file or folder beside `path`, which is gone after the `with` block.

    A process that is killed leaves its file behind; a later one removes it a day later.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError):  # another process may have finished with it just now
            if time.time() - stale.stat().st_mtime > _STALE_SECONDS:
                _remove(stale)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of `path` if the `with` block succeeds: the file is whole or not there."""
    with temporary(path) as part:
        yield part
        os.replace(part, path)
