"""Fill Flax parameters from a state dict, by one mechanical rule for each type of layer."""

import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from jaxlens import _params
from jaxlens.errors import ConversionError
from jaxlens.model import IMAGENET, Model
from jaxlens.model._nnx import NNXForward

from ._layouts import tensors_of

# A counter that only matters for training with momentum=None.
IGNORED = ("num_batches_tracked",)


def convert(state_dict: Mapping[str, Any], network: nnx.Module | Model, *, source: str = "state_dict") -> Any:
    """Make the parameters of a network from a PyTorch state dict.

    Every tensor on both sides must find its partner. A prefix that all names have but the network's
    do not ("backbone.") is removed, and errors name it. A network may declare tensors of its files
    that it does not use (`unused_tensors`, a regular expression: constants, heads that it was built
    without) and old names (`renamed_tensors`, a pattern and its replacement).

    Args:
        state_dict: arrays by name, as `read_state_dict` returns them.
        network: an NNX module whose attribute paths are PyTorch's, abstract or not, such as
            `modelzoo.architecture(name)`; or a Model of one. Layers of Flax need nothing more; a
            layer of your own says in `torch_tensors` where its parameters come from.
        source: how errors call the state dict.

    Returns: the value for `Model.params`: `model.replace(params=convert(...))`.

    Raises:
        ConversionError: if tensors do not fit. The message lists every missing, unexpected and
            misshapen tensor, under PyTorch's names.

    Example:
        >>> import torch
        >>> from flax import nnx
        >>> from jaxlens import converters
        >>> torchs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5))
        >>> class Network(nnx.Module):
        ...     def __init__(self):
        ...         setattr(self, "0", nnx.Conv(3, 4, (5, 5), rngs=nnx.Rngs(0)))
        >>> params = converters.convert(torchs.state_dict(), Network())
        >>> params["0"]["kernel"].shape  # PyTorch's is (4, 3, 5, 5)
        (5, 5, 3, 4)
    """
    model = network if isinstance(network, Model) else _model(network)
    if not isinstance(model.forward, NNXForward):
        raise TypeError(f"network={model.name} must be a Model of an nnx.Module, such as those of the zoo.")
    module = nnx.merge(model.forward.network, model.params)
    wanted = _wanted(module, dict(_params.named(model.params)), model.name)
    old, new = getattr(module, "renamed_tensors", ("$^", ""))
    tensors = {re.sub(old, new, key): np.asarray(value) for key, value in state_dict.items()}
    tensors, prefix = _unprefixed(tensors, wanted, source)
    source = f"{source} (without the prefix {prefix!r})" if prefix else source
    unused = re.compile(getattr(module, "unused_tensors", "$^"))
    ignored = {key for key in tensors if key.rpartition(".")[2] in IGNORED or (key not in wanted and unused.search(key))}
    tensors = {key: tensor for key, tensor in tensors.items() if key not in ignored}
    expected, found = {key: w.shape for key, w in wanted.items()}, {key: t.shape for key, t in tensors.items()}
    _params.account(expected, found, model.name, source)
    arrays = {w.ours: tensors[key].transpose(w.axes) if w.axes else tensors[key] for key, w in wanted.items()}
    return _params.fill(model.params, arrays, model.name, source)


def _unprefixed(tensors: dict[str, Any], wanted: Mapping[str, Any], source: str) -> tuple[dict[str, Any], str]:
    """Remove a prefix that all names share, if the network then knows more of them.

    Returns: the tensors and the prefix.
    """
    first = next(iter(tensors), "")
    prefixes = [first[: i + 1] for i, letter in enumerate(first) if letter == "."]
    shared = [prefix for prefix in prefixes if all(name.startswith(prefix) for name in tensors)]
    best, known = "", len(wanted.keys() & tensors.keys())
    for prefix in shared:
        count = sum(name.removeprefix(prefix) in wanted for name in tensors)
        if count > known:
            best, known = prefix, count
    if known < len(wanted) and not best:
        return _part_of(tensors, wanted, source)
    return {name.removeprefix(best): tensor for name, tensor in tensors.items()}, best


def _part_of(tensors: dict[str, Any], wanted: Mapping[str, Any], source: str) -> tuple[dict[str, Any], str]:
    """Return the tensors under a prefix that holds the whole network, and the prefix.

    Training scripts keep the tensors of losses and metrics beside it.
    """
    some = next(iter(wanted))
    prefixes = [name.removesuffix(some) for name in tensors if name.endswith(f".{some}")]
    whole = [prefix for prefix in prefixes if all(prefix + name in tensors for name in wanted)]
    if len(whole) > 1:
        raise ConversionError(
            f"{source} holds the network several times, under {', '.join(map(repr, whole))}. Keep the one you want: "
            f"{{k.removeprefix({whole[0]!r}): v for k, v in state_dict.items() if k.startswith({whole[0]!r})}}."
        )
    if not whole:
        return tensors, ""
    others = [name for name in tensors if not name.startswith(whole[0])]
    listed = ", ".join(map(repr, others[:5])) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    warnings.warn(f"{source}: the network is what lies under {whole[0]!r}; left out: {listed}.", UserWarning, stacklevel=4)
    return {name.removeprefix(whole[0]): tensor for name, tensor in tensors.items() if name.startswith(whole[0])}, whole[0]


def _model(network: nnx.Module) -> Model:
    """Make a Model for the parameters of a module; its preprocessing and size do not matter."""
    if not isinstance(network, nnx.Module):
        raise TypeError(f"network={network!r} must be an nnx.Module, such as modelzoo.architecture('resnet50'), or a Model.")
    return Model.from_nnx(network, name=type(network).__name__, preprocess=IMAGENET, input_size=(224, 224))


class _Wanted(NamedTuple):
    """The destination of a tensor of the state dict.

    Attributes:
        ours: the name of the parameter.
        axes: the order of the parameter's axes; empty if it is PyTorch's.
        shape: the shape in PyTorch.
    """

    ours: str
    axes: tuple[int, ...]
    shape: tuple[int, ...]


def _wanted(module: nnx.Module, leaves: dict[str, Any], name: str) -> dict[str, _Wanted]:
    """Return the tensors that the network needs, by PyTorch's names."""
    wanted = {}
    for path, layer in nnx.iter_modules(module):
        prefix = "".join(f"{part}." for part in path)
        for tensor, (leaf, axes) in tensors_of(layer).items():
            if prefix + leaf in leaves:  # a convolution may have no bias
                shape = leaves[prefix + leaf].shape
                theirs = tuple(shape[axes.index(i)] for i in range(len(shape))) if axes else shape
                wanted[prefix + tensor] = _Wanted(prefix + leaf, axes, theirs)
    if unknown := sorted(leaves.keys() - {w.ours for w in wanted.values()}):
        raise ConversionError(f"{name} has parameters that no layer's torch_tensors name: {', '.join(unknown)}.")
    return wanted
