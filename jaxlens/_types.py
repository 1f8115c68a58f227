"""Types of arguments, as an editor and a type checker see them.

At run time all of them are `Any`, so that a run-time type checker does not come before our own
checks: our errors say what to do.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax
    import numpy as np
    from jax.typing import ArrayLike, DTypeLike

    from jaxlens.model import Model

    Channels = int | Sequence[int] | Sequence[bool] | ArrayLike
    DType = DTypeLike
    Images = ArrayLike | Sequence[ArrayLike]
    ModelLike = Model
    Names = Sequence[str]
    Seed = int | np.integer[Any] | jax.Array
    Size = int | tuple[int, int] | list[int]
    Whole = int
    Number = float
    Flag = bool
    Text = str
    Values = ArrayLike | Sequence[float]
else:
    Channels = DType = Images = ModelLike = Names = Seed = Size = Whole = Number = Flag = Text = Values = Any
