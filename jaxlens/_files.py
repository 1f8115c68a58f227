"""The cache folder, and files that are either whole or not there."""

import contextlib
import glob
import hashlib
import os
import platform
import re
import shutil
import stat
import time
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from jaxlens._checks import check_text

_STALE_SECONDS = 24 * 3600
_OWNER = re.compile(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{32}\.part")  # of a temporary file: machine and process


def cache_dir() -> Path:
    """Return the folder for converted weights and datasets.

    It is `JAXLENS_CACHE` if that is set, else the user's cache folder. Deleting it, or any file in
    it, is safe: what is needed is fetched again. Share it only with people whom you trust: it also
    holds the command line's compiled programs, which are code that runs when they are loaded.

    Example:
        >>> from jaxlens import modelzoo
        >>> files = list(modelzoo.cache_dir().glob("*.safetensors"))
    """
    chosen = os.environ.get("JAXLENS_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("jaxlens", appauthor=False)


def folder_name(name: str) -> str:
    """Return a folder's name for a name, such as that of a layer; no two names share one.

    A name of lower-case letters, digits and `_ . @ -` stays as it is. Some names get their hash as
    a suffix: those with other characters (some disks do not distinguish `A` from `a`), long ones,
    and those that mean something to the system or to jobs.

    Example:
        >>> from jaxlens.microscope import folder_name
        >>> folder_name("mixed4a"), folder_name("layer1/Conv")
        ('mixed4a', 'layer1-Conv-569757f2')
    """
    safe = re.sub(r"[^\w.@-]", "-", check_text(name, "layer"), flags=re.ASCII).lstrip(".")
    if safe == name == name.lower() and 0 < len(safe) <= 100 and not re.search(r"\.$|\.png$|\.json$", safe):
        return safe
    return f"{safe[:60].rstrip('.')}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Yield the name of a hidden file or folder beside `path`; delete it after the `with` block.

    The parent folder is made if it is missing. A killed process leaves its file behind; a later
    process removes it after a day.

    Raises:
        OSError: of the fitting kind, if the folder cannot be made.
    """
    with _in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name[:50]  # the temporary name of the longest legal name must be legal too
    for stale in path.parent.glob(f".{glob.escape(name)}.*.part"):
        with contextlib.suppress(OSError):  # another process may have finished with it just now
            if time.time() - stale.stat().st_mtime > _STALE_SECONDS and not _in_use(stale):
                _remove(stale)
    part = path.with_name(f".{name}.{_machine()}-{os.getpid()}-{uuid.uuid4().hex}.part")
    try:
        yield part
    finally:
        _remove(part)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` if the `with` block succeeds.

    So the file is whole or not there. It has the permissions that the umask gives to new files. A
    link at `path` is replaced, not followed. If the block fails, folders that were made for the
    file are removed.

    Raises:
        OSError: of the fitting kind, if `path` is a folder or a device, or cannot be written.
    """
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(f"{path} is a folder, so no file can take its place. Name another one.")
    if path.exists() and not (path.is_file() or path.is_symlink()):
        raise FileExistsError(f"{path} is a device or pipe, so no file can take its place. Name another one.")
    made = [folder for folder in (path.parent, *path.parent.parents) if not os.path.lexists(folder)]
    try:
        with temporary(path) as part:
            with _in_words(path):
                part.touch(exist_ok=False)
                mode = stat.S_IMODE(part.stat().st_mode)
            yield part
            with _in_words(path):
                part.chmod(mode)  # some writers replace the file by one that only its owner may read
                os.replace(part, path)
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):  # not empty, or gone
                folder.rmdir()
        raise


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(f"{path} cannot be written: {reason}. Name a file in a folder that you may write to.") from error


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _in_use(part: Path) -> bool:
    """Return whether the process that made a temporary file still runs.

    The age of the file alone does not tell: clocks jump, and differ between machines.
    """
    owner = _OWNER.search(part.name)
    if owner is None or owner[1] != _machine() or os.name != "posix":
        return False
    try:
        os.kill(int(owner[2]), 0)  # sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
