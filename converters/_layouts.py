"""Flax's name and order of axes for PyTorch's tensors.

There are two tables: by layer for state dicts, and by operator for graphs.
"""

from flax import nnx

from jaxlens._params import BATCH_NORM, CONV, LINEAR, NORM, TorchTensors

# Flax's own layers. The zoo's layers have `torch_tensors`, and any other module may have it.
FLAX: dict[type, TorchTensors] = {
    nnx.Conv: CONV,
    nnx.Linear: LINEAR,
    nnx.BatchNorm: BATCH_NORM,
    nnx.LayerNorm: NORM,
    nnx.GroupNorm: NORM,
}


def tensors_of(layer: nnx.Module) -> TorchTensors:
    """Return our name and order of axes for each tensor of a layer itself, by PyTorch's name."""
    own = getattr(layer, "torch_tensors", None)
    return own if own is not None else next((FLAX[cls] for cls in type(layer).__mro__ if cls in FLAX), {})


Layouts = dict[int | str, tuple[str, str, tuple[int, ...] | None]]
# By the argument of an operator: the last part of PyTorch's name, the last part of ours, and
# PyTorch's axes in our order.
_LINEAR: Layouts = {1: ("weight", "kernel", (1, 0))}
_NORM = {"weight": "scale", "running_mean": "mean", "running_var": "var"}
LAYOUTS: dict[str, Layouts] = {
    "conv1d": {1: ("weight", "kernel", (2, 1, 0))},
    "conv2d": {1: ("weight", "kernel", (2, 3, 1, 0))},
    "conv3d": {1: ("weight", "kernel", (2, 3, 4, 1, 0))},
    "conv_transpose1d": {1: ("weight", "kernel", (2, 0, 1))},
    "conv_transpose2d": {1: ("weight", "kernel", (2, 3, 0, 1))},
    "linear": _LINEAR,
    "batch_norm": {i: (name, _NORM[name], None) for i, name in ((1, "running_mean"), (2, "running_var"), (3, "weight"))},
    "_native_batch_norm_legit_no_training": {
        i: (name, _NORM[name], None) for i, name in ((1, "weight"), (3, "running_mean"), (4, "running_var"))
    },
    "layer_norm": {2: ("weight", "scale", None), "weight": ("weight", "scale", None)},
    "group_norm": {2: ("weight", "scale", None), "weight": ("weight", "scale", None)},
    "multi_head_attention": {
        "in_proj": ("in_proj_weight", "kernel", (1, 0)),
        "in_proj_bias": ("in_proj_bias", "bias", None),
        "out_proj": ("weight", "kernel", (1, 0)),
    },
    "shifted_window_attention": {1: ("weight", "kernel", (1, 0)), 2: ("weight", "kernel", (1, 0))},
}
