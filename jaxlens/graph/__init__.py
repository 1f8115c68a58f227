"""Imported networks: a graph of PyTorch's operators as data, run in JAX.

`converters.from_torch` makes them.
"""

from jaxlens.graph._ir import Graph as Graph
from jaxlens.graph._run import GraphForward as GraphForward
from jaxlens.graph._tensor import Tensor as Tensor
