"""PyTorch to jaxlens: state dicts, any module, and parity reports (`python -m converters.parity`)."""

from converters._convert import convert as convert
from converters._from_torch import from_torch as from_torch
from converters._state_dict import read_state_dict as read_state_dict
