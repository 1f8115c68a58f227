"""PyTorch weights to jaxlens: state dicts, and parity reports (`python -m converters.parity`)."""

from converters._convert import convert as convert
from converters._state_dict import read_state_dict as read_state_dict
