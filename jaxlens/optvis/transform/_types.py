"""What functions of `jaxlens.optvis.transform` take, as an editor sees it; at run time `Any`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from jaxlens.optvis.transform._base import Transform
    from jaxlens.optvis.transform._draw import Uniform

    AnyTransform = Transform
    Transforms = Sequence[Transform]
    Values = Sequence[float] | np.ndarray[Any, Any] | Uniform
    Numbers = float | Values
    Interval = Sequence[float]
else:
    AnyTransform = Transforms = Values = Numbers = Interval = Any
