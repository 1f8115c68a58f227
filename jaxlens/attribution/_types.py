"""What users pass to attributions and metrics, as an editor and a type checker see it.

At run time these are `Any`, for the reason that `jaxlens._types` gives.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax
    import numpy as np
    from jax.typing import ArrayLike

    from jaxlens.attribution._result import Attribution
    from jaxlens.optvis.objectives import Objective

    OneTarget = int | str | Objective | Callable[[Callable[[str], jax.Array]], Any]
    TargetLike = OneTarget | Sequence[OneTarget] | np.ndarray | jax.Array | None
    BaselineLike = ArrayLike | None
    BaselinesLike = ArrayLike
    NeuronLike = int | Sequence[int]
    FloatsLike = ArrayLike
    ValuesLike = Attribution | ArrayLike
    MapsLike = Mapping[str, ValuesLike] | Sequence[Attribution]
    FeaturesLike = ArrayLike | None
    MaskLike = ArrayLike
    Perturbation = str | ArrayLike
    BoxesLike = ArrayLike | Sequence[ArrayLike]
else:
    BaselinesLike = NeuronLike = FloatsLike = Any
    TargetLike = BaselineLike = ValuesLike = MapsLike = FeaturesLike = MaskLike = Perturbation = BoxesLike = Any
