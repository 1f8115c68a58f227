"""PyTorch state dicts from files that nobody vouches for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlens.errors import WeightsError
from jaxlens.modelzoo import _params

# Where training scripts put the state dict inside a checkpoint.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
# What DataParallel and torch.compile put before every name.
_PREFIXES = ("module.", "_orig_mod.")


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch state dict as NumPy arrays, by name; half precision becomes float32.

    Reads `.safetensors`, and files of `torch.save` without running any code in them (`weights_only=True`). A checkpoint
    that wraps the state dict is unwrapped, and the prefixes of `DataParallel` and `torch.compile` are taken off.

    Raises:
        FileNotFoundError: if there is no such file.
        WeightsError: if it is damaged, or holds anything but tensors.
        ImportError: if it needs torch and torch is absent.
    """
    path = Path(path).expanduser()
    if path.suffix == ".safetensors":
        arrays, metadata = _params.read(path)
        if _params.is_ours(metadata):
            raise WeightsError(f"{path} holds Flax's layout already: pass it to jaxlens.modelzoo.load as it is.")
        return {name: _as_float32(array) for name, array in _unprefixed(arrays).items()}
    return {name: _to_numpy(tensor) for name, tensor in _unprefixed(_torch_load(path)).items()}


def _torch_load(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no weights file {path}.")
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"Reading {path} needs torch: pip install 'jaxlens[torch]'.") from error
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the parser of an untrusted file may fail in any way
        reason = str(error).strip().split("\n")[0]
        raise WeightsError(
            f"{path} is not a readable PyTorch state dict: it is cut short, damaged, or holds more than tensors. "
            f"Nothing in it was executed. Save the weights alone: torch.save(model.state_dict(), path). (torch: {reason})"
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
            break
    if not isinstance(found, Mapping) or not found:
        raise WeightsError(f"{path} holds {type(found).__name__}, where a state dict (names to tensors) is needed.")
    others = [f"{name!r} ({type(value).__name__})" for name, value in found.items() if not isinstance(value, torch.Tensor)]
    if others:
        listed = ", ".join(others[:5])
        raise WeightsError(f"{path} is not a state dict: {len(others)} of its {len(found)} entries are not tensors: {listed}.")
    return found


def _unprefixed(tensors: Mapping[str, Any]) -> dict[str, Any]:
    tensors = dict(tensors)
    while prefix := next((p for p in _PREFIXES if tensors and all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _to_numpy(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _as_float32(array: np.ndarray) -> np.ndarray:
    # ml_dtypes' bfloat16 is no subtype of np.floating
    return array if np.issubdtype(array.dtype, np.integer) or array.dtype == bool else array.astype(np.float32)
