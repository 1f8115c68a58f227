"""PyTorch to jaxlens: state dicts, and any module."""

from ._fill import convert as convert
from ._from_torch import from_torch as from_torch
from ._read import read_state_dict as read_state_dict
