"""The names of PyTorch's functions, methods and ATen operators, and what they do to memory."""

import functools
import operator
from typing import Any

import torch
import torch.nn.functional as F

IN_PLACE_OPERATORS = (
    operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ifloordiv, operator.imod, operator.ipow,
    operator.iand, operator.ior, operator.imatmul,
)  # fmt: skip
_PLAIN = {function.__name__: function.__name__[1:] for function in IN_PLACE_OPERATORS}


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


# Operators that return their input, and operators whose result may share its memory.
ALIASES = _set(
    "alias dropout dropout1d dropout2d dropout3d alpha_dropout feature_dropout feature_alpha_dropout stochastic_depth"
)
VIEWS = _set("""
    detach view reshape view_as reshape_as flatten unflatten permute transpose swapaxes swapdims t movedim moveaxis squeeze
    unsqueeze expand broadcast_to expand_as split split_with_sizes tensor_split chunk unbind narrow select slice getitem getattr
    diagonal unfold contiguous to type type_as float double half bfloat16 long int bool numpy_T real ravel meshgrid
    channel_shuffle unsafe_chunk unsafe_split
""")
# Operators that return sizes.
NUMBERS = _set("size dim ndimension numel nelement len is_floating_point get_device stride sym_size sym_numel")


def writes_in_place(target: Any) -> bool:
    """Return whether a function or method changes its first argument."""
    if target is operator.setitem or target in IN_PLACE_OPERATORS:
        return True
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    return name.endswith("_") and not name.endswith("__") and name not in ("and_", "or_", "requires_grad_")


def operator_name(target: Any) -> str:
    """Return the name in the table: PyTorch's, without the underscore of in-place variants."""
    if isinstance(target, str):
        name = target
    elif isinstance(target, torch._ops.OpOverload):
        name = target._schema.name.partition("::")[2]
    else:
        name = _functional().get(id(target)) or getattr(target, "__name__", str(target))
    name = _PLAIN.get(name, name)
    if name in ("and_", "or_"):
        return name
    return name if name.startswith("__") else name.rstrip("_")


@functools.cache
def _functional() -> dict[int, str]:
    """Return the public names of functions of torch.nn.functional, by id.

    Some have another name inside, and `F.unfold` is not the method of that name.
    """
    found = {id(getattr(F, name)): name for name in dir(F) if callable(getattr(F, name)) and not name.startswith("_")}
    return found | {id(F.unfold): "im2col"}
