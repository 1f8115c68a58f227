"""What users give objectives, as an editor and a type checker see it.

At run time these are `Any`, because the arguments are checked by hand (see `jaxlens._types`).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import jax
    import numpy as np
    from jax.typing import ArrayLike

    from jaxlens.optvis.objectives._base import Objective

    Layers = str | Sequence[str]
    # One for all tasks, or one for each.
    Wholes = int | np.integer[Any] | Sequence[int] | np.ndarray[Any, Any] | jax.Array
    Numbers = float | np.floating[Any] | Sequence[float] | np.ndarray[Any, Any] | jax.Array
    Labels = Wholes | str | Sequence[str]
    Shape = Sequence[int]
    Values = ArrayLike | Sequence[Any]
    Reader = Callable[[str], jax.Array]
    Loss = Callable[[Any, Any], jax.Array]
    Map = Callable[[Any], jax.Array]
    Foreign = Callable[[Any], Any]
    Target = int | Mapping[str, Values]
    Objectives = Sequence[Objective]
    ObjectiveLike = Objective | str | Callable[[Reader], Any] | Sequence["ObjectiveLike"]
else:
    Layers = Wholes = Numbers = Labels = Shape = Values = Target = Any
    Reader = Loss = Map = Foreign = Objectives = ObjectiveLike = Any
