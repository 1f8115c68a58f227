"""PyTorch's operators in JAX: one table, `OPS`, from PyTorch's name to a function of Tensors."""

from jaxlens.graph.ops import _attention as _attention
from jaxlens.graph.ops import _create as _create
from jaxlens.graph.ops import _elementwise as _elementwise
from jaxlens.graph.ops import _layers as _layers
from jaxlens.graph.ops import _pad as _pad
from jaxlens.graph.ops import _reduce as _reduce
from jaxlens.graph.ops import _resize as _resize
from jaxlens.graph.ops import _shape as _shape
from jaxlens.graph.ops._table import OPS as OPS
from jaxlens.graph.ops._table import op as op
from jaxlens.graph.ops._table import shows_attention as shows_attention
