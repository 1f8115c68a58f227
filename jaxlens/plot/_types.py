"""What users pass to figures, as an editor and a type checker see it; `Any` at run time."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from jax.typing import ArrayLike

    from jaxlens._types import Images
    from jaxlens.optvis.render import RenderResult

    Colormap = str | Callable[[np.ndarray], np.ndarray] | None
    Floats = ArrayLike | Sequence[float]
    Pictures = RenderResult | Images
    Names = int | Sequence[str]
else:
    Colormap = Floats = Pictures = Names = Any
