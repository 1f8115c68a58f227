"""What a folder of tiles was rendered with, so that others are never mixed in."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import filelock
import jax
import numpy as np

from jaxlens._files import atomic
from jaxlens._package import VERSION
from jaxlens.model import Model

_FORMAT = 1
NAME = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A folder's contents-to-be.

    Attributes:
        settings: everything that a tile's pixels depend on besides its neuron; JSON values.
        layers: by layer, its channels, in order.
        chunk: how many neurons are claimed and rendered together.
        versions: of the packages that the folder was begun with; for the record only.
    """

    settings: Mapping[str, Any]
    layers: Mapping[str, list[int]]
    chunk: int
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def hash(self) -> str:
        """Of the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]


def join(folder: Path, mine: Manifest) -> Manifest:
    """The folder's manifest with my layers added; made if there is none.

    Raises:
        ValueError: if the folder was begun with other settings.
    """
    path = folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".manifest.lock"):
        theirs = _read(path)
        if theirs is None:
            return _write(path, mine)
        _same_settings(folder, theirs, mine)
        layers = {name: list(channels) for name, channels in theirs.layers.items()}
        for name, channels in mine.layers.items():
            layers[name] = sorted({*layers.get(name, []), *channels})
        whole = dataclasses.replace(theirs, layers=layers)
        return whole if layers == theirs.layers else _write(path, whole)


def versions() -> dict[str, str]:
    """Of what decides how a picture is rounded."""
    return {"jaxlens": VERSION, **{name: metadata.version(name) for name in ("jax", "jaxlib")}}


def fingerprint(tree: Any, name: str) -> str:
    """A hash of a pytree's structure and values, the same in every process.

    Raises:
        ValueError: if it holds functions or objects that cannot be told apart from one process to another.
    """
    leaves, structure = jax.tree.flatten(tree)
    digest = hashlib.sha256(str(structure).encode())
    if " at 0x" in str(structure) or any(callable(leaf) for leaf in leaves):
        raise ValueError(
            f"{name}={tree!r} holds a function or object without a name of its own, so a folder cannot remember it. "
            "Use jaxlens' own, or dataclasses with a repr that tells their values."
        )
    for leaf in leaves:
        array = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def weights_hash(model: Model) -> str:
    """A hash of all weights."""
    return fingerprint(jax.tree.leaves(model.params), "params")


def told(function: Any) -> str:
    """A function by its repr, or by its name where that would differ from process to process."""
    text = repr(function)
    return getattr(function, "__qualname__", type(function).__name__) if " at 0x" in text else text


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _read(path: Path) -> Manifest | None:
    try:
        content = json.loads(path.read_text())
        if content.pop("format") == _FORMAT:
            return Manifest(**content)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not a manifest of jaxlens ({error}). Name another folder, or delete it.") from error
    raise ValueError(f"{path} was written by another version of jaxlens. Name another folder.")


def _write(path: Path, manifest: Manifest) -> Manifest:
    with atomic(path) as part:
        part.write_text(json.dumps({"format": _FORMAT} | dataclasses.asdict(manifest), indent=1) + "\n")
    return manifest


def _same_settings(folder: Path, theirs: Manifest, mine: Manifest) -> None:
    if theirs.hash == mine.hash:
        return
    differ = [
        f"{name}: {theirs.settings.get(name)!r} there, {mine.settings.get(name)!r} now"
        for name in sorted({*theirs.settings, *mine.settings})
        if theirs.settings.get(name) != mine.settings.get(name)
    ]
    raise ValueError(
        f"out={str(folder)!r} holds tiles of other settings ({'; '.join(differ)}). Tiles of different settings are not "
        "mixed: use the settings of the folder, or name another folder."
    )
