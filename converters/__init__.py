"""PyTorch to jaxlens: state dicts, any module, and parity reports (`python -m converters.parity`)."""

from ._convert import convert as convert
from ._from_torch import from_torch as from_torch
from ._state_dict import read_state_dict as read_state_dict
