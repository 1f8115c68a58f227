"""Parameters by name: read and write them, draw them at random, check them one by one."""

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from jaxlens._checks import as_key, one_line
from jaxlens._files import atomic
from jaxlens._package import VERSION
from jaxlens.errors import ConversionError, NonFiniteWarning, WeightsError

# Values of random parameters that are not kernels, by the last part of their names; else 0.
_START = {"scale": 1.0, "var": 1.0, "layer_scale": 1.0, "logit_scale": 2.3}

# How many tensors an error lists, so that it fits one screen.
_LISTED = 20

Shapes = Mapping[str, tuple[int, ...]]

# Where PyTorch has a layer's tensors: the last part of its name -> ours, and the order of axes.
TorchTensors = dict[str, tuple[str, tuple[int, ...]]]

AS_IT_IS = ()
OI_TO_IO = (1, 0)
OIHW_TO_HWIO = (2, 3, 1, 0)

CONV: TorchTensors = {"weight": ("kernel", OIHW_TO_HWIO), "bias": ("bias", AS_IT_IS)}
LINEAR: TorchTensors = {"weight": ("kernel", OI_TO_IO), "bias": ("bias", AS_IT_IS)}
NORM: TorchTensors = {"weight": ("scale", AS_IT_IS), "bias": ("bias", AS_IT_IS)}
BATCH_NORM: TorchTensors = NORM | {"running_mean": ("mean", AS_IT_IS), "running_var": ("var", AS_IT_IS)}

FORMAT = {"format": "jaxlens", "format_version": "1"}


def named(params: Any) -> list[tuple[str, Any]]:
    """Return the leaves of a parameter tree under dotted names such as `features.0.kernel`."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [(".".join(_part(key) for key in path if getattr(key, "name", "") != "value"), leaf) for path, leaf in leaves]


def with_leaves(params: Any, leaves: Mapping[str, Any]) -> Any:
    """Return a tree like `params` with other leaves under some dotted names."""
    return jax.tree.unflatten(jax.tree.structure(params), [leaves.get(name, leaf) for name, leaf in named(params)])


def _part(key: Any) -> str:
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)


def account(expected: Shapes, found: Shapes, network: str, source: str) -> None:
    """Raise one error that lists all tensors in which the two sides differ, on one screen."""
    missing = [f"{name} {expected[name]}" for name in sorted(expected) if name not in found]
    unexpected = [f"{name} {found[name]}" for name in sorted(found) if name not in expected]
    misshapen = [
        f"{name}: {found[name]} given, {expected[name]} needed"
        for name in sorted(expected)
        if name in found and tuple(found[name]) != tuple(expected[name])
    ]
    lists = {"missing": missing, "unexpected": unexpected, "misshapen": misshapen}
    lists = {kind: items for kind, items in lists.items() if items}
    if lists:
        room = _LISTED if sum(map(len, lists.values())) <= _LISTED else _LISTED // len(lists)
        report = "".join(f"\n  {len(items)} {kind}:{_listed(items, room)}" for kind, items in lists.items())
        raise ConversionError(f"{source} does not fit {one_line(network, 100)}, which has {len(expected)} tensors:{report}")


def _listed(items: list[str], room: int) -> str:
    lines = [one_line(item, 100) for item in items[:room]]
    more = [f"... and {len(items) - room} more"] if len(items) > room else []
    return "".join(f"\n    {line}" for line in (*lines, *more))


def fill(params: Any, arrays: Mapping[str, Any], network: str, source: str) -> Any:
    """Return a tree like `params`, with arrays as its leaves by name.

    Raises:
        ConversionError: lists missing, unexpected and misshapen arrays, or names one that does not
            hold floats.
    """
    leaves = named(params)
    account({name: leaf.shape for name, leaf in leaves}, {name: tuple(a.shape) for name, a in arrays.items()}, network, source)
    for name, leaf in leaves:  # integers are another network's or quantized: a cast would hide it
        if jnp.issubdtype(leaf.dtype, jnp.floating) and not jnp.issubdtype(arrays[name].dtype, jnp.floating):
            raise ConversionError(f"{source} does not fit {network}: {name} is {arrays[name].dtype}, floats are needed.")
    # NumPy converts, then all go to the device at once: JAX would compile a conversion per shape.
    filled = [np.asarray(arrays[name]).astype(leaf.dtype, copy=False) for name, leaf in leaves]
    warn_of_non_finite({name: array for (name, _), array in zip(leaves, filled, strict=True)}, source)
    return jax.tree.unflatten(jax.tree.structure(params), jax.device_put(filled))


def warn_of_non_finite(arrays: Mapping[str, np.ndarray], source: str, *, infinite: bool = True) -> bool:
    """Warn of tensors that hold NaN, as after a training that failed, and return whether any does.

    Args:
        arrays: by name.
        source: where they are from.
        infinite: also name tensors with infinite numbers, which some networks have on purpose.
    """
    fine = np.isfinite if infinite else lambda array: ~np.isnan(array)
    bad = [name for name, array in arrays.items() if jnp.issubdtype(array.dtype, jnp.floating) and not fine(array).all()]
    if bad:
        message = f"{source} has weights that are NaN or infinite, and so is what depends on them:{_listed(bad, _LISTED)}"
        warnings.warn(message, NonFiniteWarning, stacklevel=2)
    return bool(bad)


def random(params: Any, seed: int) -> dict[str, np.ndarray]:
    """Return He-normal kernels (He et al. 2015, arXiv:1502.01852) and idle batch norms, by name.

    Such kernels keep activations alive through depth. Equal seeds give equal weights. The numbers
    are drawn in blocks of one size, because JAX would compile a sampler for each shape.
    """
    block = jax.jit(lambda key: jax.random.normal(key, (1 << 20,)))
    key, drawn, count = as_key(seed, "seed"), np.empty(0, np.float32), 0
    arrays = {}
    for name, leaf in named(params):
        kind = name.rpartition(".")[2]
        if kind == "kernel":
            parts = [drawn]
            while sum(map(len, parts)) < leaf.size:
                parts.append(np.asarray(block(jax.random.fold_in(key, count))))
                count += 1
            drawn = np.concatenate(parts)
            fan_in = leaf.size // leaf.shape[-1]
            arrays[name] = drawn[: leaf.size].reshape(leaf.shape) * np.float32((2 / fan_in) ** 0.5)
            drawn = drawn[leaf.size :]
        else:
            arrays[name] = np.full(leaf.shape, _START.get(kind, 0), np.float32)
    return arrays


def write(path: Path, params: Any, metadata: Mapping[str, str]) -> None:
    """Write parameters as a safetensors file in Flax's layout; the file is whole or not there."""
    # safetensors writes the bytes of an array in the order in which they lie in memory
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in named(params)}
    metadata = {**FORMAT, **metadata, "jaxlens": VERSION}
    metadata["checksum"] = _checksum(arrays, metadata)
    with atomic(path) as part:
        try:
            safetensors.numpy.save_file(arrays, part, metadata)
        except safetensors.SafetensorError as error:
            raise OSError(f"{path} cannot be written: {one_line(error)}.") from error


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the metadata of a safetensors file, ours or not.

    Raises:
        WeightsError: if the file is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no weights file {path}.")
    try:  # the parser would call an unreadable file damaged
        path.open("rb").close()
    except OSError as error:
        raise type(error)(f"{path} cannot be read: {error.strerror}.") from error
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:  # the parser of an untrusted file may fail in any way
        why = "It is damaged or of another kind."
        if "float8" in str(error) or "float4" in str(error):
            why = "Its numbers are of a kind that NumPy does not have: save them as float32."
        raise WeightsError(f"{path} is not a readable safetensors file ({one_line(error)}). {why}") from error
    if is_ours(metadata) and (version := metadata.get("format_version")) != FORMAT["format_version"]:
        known = FORMAT["format_version"]
        raise WeightsError(f"{path} has format version {one_line(version, 20)}; this jaxlens reads {known}. Convert it again.")
    if is_ours(metadata) and metadata.get("checksum") != _checksum(arrays, metadata):
        raise WeightsError(f"{path} is damaged: its contents do not match its checksum. Delete it and fetch it again.")
    return arrays, metadata


def is_ours(metadata: Mapping[str, str]) -> bool:
    """Return whether a safetensors file holds Flax's layout, rather than PyTorch's."""
    return metadata.get("format") == FORMAT["format"]


def _checksum(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256((metadata.get("graph", "") + metadata.get("about", "")).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
