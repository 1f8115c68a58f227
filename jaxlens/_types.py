"""What users pass, as an editor and a type checker see it.

At run time these are `Any`: they are checked by hand, because an error of ours says what to do where a type's would say that
the type is wrong.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax
    import numpy as np
    from jax.typing import ArrayLike

    Images = ArrayLike | Sequence[ArrayLike]
    Seed = int | np.integer[Any] | jax.Array
    Size = int | tuple[int, int] | list[int]
    Whole = int
    Number = float
    Flag = bool
    Text = str
else:
    Images = Seed = Size = Whole = Number = Flag = Text = Any
