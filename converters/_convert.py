"""State dicts to Flax parameters: one mechanical rule per layer type."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import nnx

from jaxlens.errors import ConversionError
from jaxlens.model import Model
from jaxlens.modelzoo import _layers, _params, architecture

OIHW_TO_HWIO = (2, 3, 1, 0)
OI_TO_IO = (1, 0)
AS_IT_IS = ()

# Per layer type: PyTorch's tensor -> our parameter, and the order of axes. The path of the module is the same on both sides.
Rule = dict[str, tuple[str, tuple[int, ...]]]
CONV: Rule = {"weight": ("kernel", OIHW_TO_HWIO), "bias": ("bias", AS_IT_IS)}
LINEAR: Rule = {"weight": ("kernel", OI_TO_IO), "bias": ("bias", AS_IT_IS)}
BATCH_NORM: Rule = {
    "weight": ("scale", AS_IT_IS),
    "bias": ("bias", AS_IT_IS),
    "running_mean": ("mean", AS_IT_IS),
    "running_var": ("var", AS_IT_IS),
}
RULES: dict[type, Rule] = {
    _layers.Conv: CONV,
    _layers.Linear: LINEAR,
    _layers.BatchNorm: BATCH_NORM,
    nnx.Conv: CONV,
    nnx.Linear: LINEAR,
    nnx.BatchNorm: BATCH_NORM,
}
# A counter that only matters to training with momentum=None.
IGNORED = ("num_batches_tracked",)


def convert(state_dict: Mapping[str, Any], network: str | nnx.Module, *, source: str = "state_dict") -> Any:
    """Parameters of a network from a PyTorch state dict.

    Every tensor on both sides is accounted for.

    Args:
        state_dict: arrays by name, as `read_state_dict` gives them.
        network: a name of the zoo, or an NNX module, abstract or not, whose attribute paths are PyTorch's.
        source: what errors call the state dict.

    Returns: what `Model.params` holds: `model.replace(params=convert(...))`.

    Raises:
        ConversionError: listing every missing, unexpected and misshapen tensor, under PyTorch's names.
    """
    module = architecture(network) if isinstance(network, str) else network
    name = network if isinstance(network, str) else type(module).__name__
    params = Model.from_nnx(module).params
    wanted = _wanted(module, dict(_params.named(params)), name)
    tensors = {key: np.asarray(value) for key, value in state_dict.items() if key.rpartition(".")[2] not in IGNORED}
    expected, found = {key: w.shape for key, w in wanted.items()}, {key: t.shape for key, t in tensors.items()}
    _params.account(expected, found, name, source)
    arrays = {w.ours: tensors[key].transpose(w.axes) if w.axes else tensors[key] for key, w in wanted.items()}
    return _params.fill(params, arrays, name, source)


class _Wanted(NamedTuple):
    """Where a tensor of the state dict goes, its order of axes there, and the shape PyTorch has it in."""

    ours: str
    axes: tuple[int, ...]
    shape: tuple[int, ...]


def _wanted(module: nnx.Module, leaves: dict[str, Any], name: str) -> dict[str, _Wanted]:
    """The state dict that the network needs, by PyTorch's names."""
    wanted = {}
    for path, layer in nnx.iter_modules(module):
        prefix = "".join(f"{part}." for part in path)
        rule = next((RULES[cls] for cls in type(layer).__mro__ if cls in RULES), {})
        for tensor, (leaf, axes) in rule.items():
            if prefix + leaf in leaves:  # a convolution may have no bias
                shape = leaves[prefix + leaf].shape
                theirs = tuple(shape[axes.index(i)] for i in range(len(shape))) if axes else shape
                wanted[prefix + tensor] = _Wanted(prefix + leaf, axes, theirs)
    if unknown := sorted(leaves.keys() - {w.ours for w in wanted.values()}):
        raise ConversionError(f"{name} has layers without a rule in converters._convert.RULES: {', '.join(unknown)}.")
    return wanted
