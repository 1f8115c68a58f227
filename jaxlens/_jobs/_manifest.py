"""The manifest of a folder: the settings of its items, so that no others are mixed in."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import filelock

from jaxlens._files import atomic
from jaxlens._package import VERSION

_FORMAT = 3
NAME = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a folder is to contain.

    Attributes:
        settings: all that an item depends on besides its group and number, as JSON values.
        groups: by name, the numbers of the group's items in order, such as channels of layers.
        chunk: how many items are claimed and made together.
        record: the model's name, and the versions of the packages that began the folder.
    """

    settings: Mapping[str, Any]
    groups: Mapping[str, list[int]]
    chunk: int
    record: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def hash(self) -> str:
        """The hash of the settings."""
        return hash_of(self.settings)


def hash_of(settings: Mapping[str, Any]) -> str:
    """Return a short hash of settings, which every item carries."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def find(folder: Path, mine: Manifest) -> Manifest:
    """Return the folder's manifest with the groups of `mine` added, or `mine` if it has none.

    Nothing is written.

    Raises:
        ValueError: if the folder was begun with other settings, or its manifest is not one of ours.
    """
    theirs = read(folder)
    if theirs is None:
        return mine
    _same_settings(folder, theirs, mine)
    groups = {name: list(items) for name, items in theirs.groups.items()}
    for name, items in mine.groups.items():
        groups[name] = sorted({*groups.get(name, []), *items})
    return dataclasses.replace(theirs, groups=groups)


def create_or_extend(folder: Path, mine: Manifest) -> Manifest:
    """Write what `find` returns into the folder, which is made if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".manifest.lock"):
        whole = find(folder, mine)
        if whole != read(folder):
            with atomic(folder / NAME) as part:
                part.write_text(json.dumps({"format": _FORMAT} | dataclasses.asdict(whole), indent=1) + "\n")
    return whole


def read(folder: Path) -> Manifest | None:
    """Return the folder's manifest, or None if there is none."""
    path = folder / NAME
    try:
        content = json.loads(path.read_text())
        found = content.pop("format")
        if found == _FORMAT:
            manifest = Manifest(**content)
            _check(manifest)
            return manifest
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        raise
    except Exception as error:  # anybody's file: empty, numbers, endlessly nested
        raise ValueError(
            f"{str(path)!r} is not a manifest of jaxlens ({type(error).__name__}: {str(error)[:200]}). "
            "Name another folder, or delete it."
        ) from error
    raise ValueError(f"{str(path)!r} has format {str(found)[:20]}, this jaxlens writes {_FORMAT}. Name another folder.")


def _check(manifest: Manifest) -> None:
    """Raise unless every part is of its type."""
    if not isinstance(manifest.settings, dict) or not isinstance(manifest.record, dict):
        raise TypeError("settings and record must be objects")
    if type(manifest.chunk) is not int or manifest.chunk < 1:
        raise ValueError(f"chunk is {manifest.chunk!r}, a whole number from 1 is needed")
    if not isinstance(manifest.groups, dict):
        raise TypeError("groups must be an object")
    for group, items in manifest.groups.items():
        if not isinstance(items, list) or not all(type(item) is int and item >= 0 for item in items):
            raise TypeError(f"the items of {group!r} must be a list of whole numbers")


def record(model: str) -> dict[str, str]:
    """Return the model's name, and the versions of the packages that decide rounding."""
    return {"model": model, "jaxlens": VERSION, **{name: metadata.version(name) for name in ("jax", "jaxlib")}}


def _same_settings(folder: Path, theirs: Manifest, mine: Manifest) -> None:
    if theirs.hash == mine.hash:
        return
    differ = [
        f"{name}: {theirs.settings.get(name)!r} there, {mine.settings.get(name)!r} now"
        for name in sorted({*theirs.settings, *mine.settings})
        if theirs.settings.get(name) != mine.settings.get(name)
    ]
    raise ValueError(
        f"out={str(folder)!r} holds results of other settings ({'; '.join(differ)}). Results of different settings are not "
        "mixed: use the settings of the folder, or name another folder."
    )
