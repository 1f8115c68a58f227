"""PyTorch to jaxlens: state dicts, and any module."""

from ._convert import convert as convert
from ._from_torch import from_torch as from_torch
from ._state_dict import read_state_dict as read_state_dict
