"""PyTorch to jaxlens: state dicts, whole modules, and reports of parity.

`python -m converters.parity` compares a network with PyTorch's, layer by layer.
"""

from ._fill import convert as convert
from ._from_torch import from_torch as from_torch
from ._read import read_state_dict as read_state_dict
