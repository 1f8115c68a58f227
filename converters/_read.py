"""Read PyTorch state dicts from untrusted files."""

import contextlib
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jaxlens import _params
from jaxlens._checks import one_line
from jaxlens._package import optional
from jaxlens.errors import WeightsError

from . import _pickles

# Where training scripts put the state dict in a checkpoint. The first that is there counts;
# averages of weights come last.
_WRAPPERS = (
    "state_dict", "model_state_dict", "model", "net", "network", "params", "weights", "teacher", "student", "module",
    "backbone", "encoder", "model_ema", "ema", "ema_state_dict", "state_dict_ema", "params_ema", "ema_model", "shadow",
)  # fmt: skip
# Prefixes of DataParallel and torch.compile.
_PREFIXES = ("module.", "_orig_mod.")
# A file may hold this many times its own size plus 64 MiB: enough for compressed zeros and tied
# weights, too little for a decompression bomb.
_EXPANSION = 20


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Read the tensors of a PyTorch state dict as NumPy arrays by name; all floats become float32.

    The file may be `.safetensors`, NumPy's `.npz`, HDF5 (`.h5`, `.hdf5`; groups and `/` in names
    give dotted names), or one of `torch.save`; only the last needs torch. No code in a file is run,
    and no other file that it refers to is read. A checkpoint that wraps the state dict
    ("state_dict", "model", "net", "ema", ...) is unwrapped, and the prefixes of `DataParallel` and
    `torch.compile` are removed; `convert` removes any other prefix that all names share.

    Args:
        path: the path of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        WeightsError: if it is damaged, or holds anything but tensors.
        ImportError: if it needs torch or h5py, which is absent.

    Example:
        >>> import torch
        >>> from jaxlens import converters
        >>> module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU())
        >>> torch.save({"state_dict": module.state_dict(), "epoch": 7}, "checkpoint.pth")
        >>> tensors = converters.read_state_dict("checkpoint.pth")
        >>> {name: array.shape for name, array in tensors.items()}
        {'0.weight': (4, 3, 5, 5), '0.bias': (4,)}
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no weights file {path}.")
    arrays = _READERS.get(path.suffix.lower(), _torch)(path)
    return {name: _plain(array, name, path) for name, array in _unprefixed(arrays).items()}


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    arrays, metadata = _params.read(path)
    if _params.is_ours(metadata):
        raise WeightsError(f"{path} holds Flax's layout already: pass it to jaxlens.modelzoo.load as it is.")
    return arrays


def _npz(path: Path) -> dict[str, np.ndarray]:
    with _parsing(path, "NumPy archive"):
        _require_room(path, _unzipped(path))
        with np.load(path, allow_pickle=False) as file:
            return _dotted(path, [(name, file[name]) for name in file.files])


def _hdf5(path: Path) -> dict[str, np.ndarray]:
    h5py = optional("h5py", f"Reading {path} needs h5py", "hdf5")
    with _parsing(path, "HDF5 file"), h5py.File(path, "r") as file:
        datasets = _datasets(path, file)
        _require_room(path, sum(dataset.nbytes for _, dataset in datasets))
        return _dotted(path, [(name, np.asarray(dataset[()])) for name, dataset in datasets])


def _datasets(path: Path, file: Any) -> list[tuple[str, Any]]:
    """Return the datasets of an HDF5 file by their paths.

    Links, data in other files, and groups inside themselves are refused before they are followed.
    """
    import h5py

    found, groups, seen = [], [("", file)], set()
    while groups:
        prefix, group = groups.pop()
        if group in seen:  # h5py compares groups by where they are stored
            raise WeightsError(f"{path}: its group {one_line(prefix, 100)!r} has another name too.")
        seen.add(group)
        for key in group:
            name = f"{prefix}{key}"
            if not isinstance(link := group.get(key, getlink=True), h5py.HardLink):
                raise WeightsError(f"{path}: {one_line(name, 100)!r} is a link ({type(link).__name__}), which is not followed.")
            item = group[key]
            if isinstance(item, h5py.Group):
                groups.append((f"{name}/", item))
            elif not isinstance(item, h5py.Dataset) or item.shape is None or item.dtype.kind not in "biufV":
                kind = getattr(item, "dtype", type(item).__name__)
                raise WeightsError(f"{path}: {one_line(name, 100)!r} holds no numbers ({one_line(kind, 100)}).")
            elif item.is_virtual or item.external:
                raise WeightsError(f"{path}: the numbers of {one_line(name, 100)!r} lie in another file, which is not read.")
            else:
                found.append((name, item))
    return found


def _dotted(path: Path, entries: list[tuple[str, Any]]) -> dict[str, Any]:
    arrays = {name.replace("/", "."): array for name, array in entries}
    if not arrays or len(arrays) < len(entries):
        raise WeightsError(f"{path} holds {'several arrays of one name' if arrays else 'no arrays'}.")
    return arrays


def _torch(path: Path) -> dict[str, np.ndarray]:
    torch = optional("torch", f"Reading {path} needs torch", "torch")
    try:
        if zipfile.is_zipfile(path):
            _require_room(path, _unzipped(path))
        _pickles.require_small_tuples(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # the parser of an untrusted file may fail in any way
        said = _plain_text(error)
        raise WeightsError(
            f"{path} is not a readable PyTorch state dict: it is cut short, damaged, or holds more than tensors. Nothing in it "
            f"was executed. {_advice(path, said)} (torch: {one_line(said, 2000)})"
        ) from error
    found = _inside(found, path)
    named = {name: isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()}
    others = [f"{one_line(repr(name), 50)} ({type(found[name]).__name__})" for name, good in named.items() if not good]
    if others:
        listed = ", ".join(others[:5])
        raise WeightsError(f"{path} is not a state dict: {len(others)} of its {len(found)} entries are not tensors: {listed}.")
    with _parsing(path, "PyTorch state dict"):
        _require_room(path, sum(4 * tensor.numel() for tensor in found.values()))  # a tensor may repeat a few stored numbers
        return {name: _to_numpy(tensor) for name, tensor in found.items()}


def _inside(found: Any, path: Path) -> Mapping[str, Any]:
    """Return the state dict in the contents of a file, unwrapped up to four times."""
    import torch

    for _ in range(4):
        if not isinstance(found, Mapping) or not found:
            raise WeightsError(f"{path} holds {type(found).__name__}, where a state dict (names to tensors) is needed.")
        if all(isinstance(value, torch.Tensor) for value in found.values()):
            return found
        dicts = [name for name, value in found.items() if isinstance(value, Mapping) and _holds_tensors(value)]
        known = [name for name in _WRAPPERS if name in dicts]
        if not known and len(dicts) > 1:
            listed = ", ".join(one_line(repr(name), 50) for name in dicts[:5])
            raise WeightsError(
                f"{path} holds several state dicts ({listed}): save the one you want alone, torch.save(c[KEY], path)."
            )
        if not (known or dicts):
            return found
        found = found[(known or dicts)[0]]
    return found


def _holds_tensors(value: Mapping[Any, Any], depth: int = 3) -> bool:
    """Return whether it has weights under names; an optimizer's state has numbers for names."""
    import torch

    parts = [part for name, part in value.items() if isinstance(name, str)]
    return any(
        isinstance(part, torch.Tensor) or (depth > 0 and isinstance(part, Mapping) and _holds_tensors(part, depth - 1))
        for part in parts
    )


def _plain_text(error: Exception) -> str:
    """Return the whole text of an error, without the colors of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip() or type(error).__name__


def _advice(path: Path, said: str) -> str:
    """Return advice for a file that holds other objects beside the weights."""
    named = re.search(r"GLOBAL ([\w.]+)", said)
    if named is None:
        return "Save the weights alone: torch.save(model.state_dict(), path)."
    return (
        f"It holds {one_line(named[1], 100)} beside weights. Where you trust the file, strip it: "
        f"c = torch.load({path.name!r}, weights_only=False); print(c.keys()); torch.save(c['state_dict'], 'weights.pth'). "
        "Or save the weights alone: torch.save(model.state_dict(), path)."
    )


_READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".safetensors": _safetensors,
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
}


@contextlib.contextmanager
def _parsing(path: Path, kind: str) -> Iterator[None]:
    """Turn any error inside into a `WeightsError` about the file."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(
            f"{path} is not a readable {kind}: it is cut short, damaged, or holds more than arrays of numbers. "
            f"Nothing in it was executed. ({_reason(error)})"
        ) from error


def _reason(error: Exception) -> str:
    """Return the first line of an error."""
    return one_line(str(error).strip().partition("\n")[0] or type(error).__name__)


def _unzipped(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _require_room(path: Path, size: int) -> None:
    """Refuse a small file that claims to hold gigabytes, before they are allocated."""
    if size > (1 << 26) + _EXPANSION * path.stat().st_size:
        raise WeightsError(f"{path} claims to hold {size:,} bytes of numbers, which a file of its size does not.")


def _unprefixed(tensors: Mapping[str, Any]) -> dict[str, Any]:
    tensors = dict(tensors)
    while prefix := next((p for p in _PREFIXES if tensors and all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _to_numpy(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor).numpy()


def _plain(array: Any, name: str, path: Path) -> np.ndarray:
    """Return floats of any precision as float32, and integers as they are."""
    dtype = getattr(array, "dtype", None)
    if dtype == np.dtype("V2"):  # NumPy's dtype for bfloat16 in a file
        array = array.view(ml_dtypes.bfloat16)
    elif dtype is None or (dtype.kind not in "biuf" and dtype != ml_dtypes.bfloat16):
        raise WeightsError(
            f"{path}: {one_line(name, 100)!r} holds no real numbers ({one_line(dtype or type(array).__name__, 100)})."
        )
    if array.dtype.kind in "biu":
        return array
    try:
        with np.errstate(over="raise", invalid="ignore"):
            return array.astype(np.float32, copy=False)
    except FloatingPointError as error:
        raise WeightsError(f"{path}: {one_line(name, 100)!r} has numbers that are too large for float32.") from error
