"""What the functions of `jaxlens.optvis.param` take, as an editor sees it; at run time `Any`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import jax
    import numpy as np
    from jax.typing import ArrayLike

    from jaxlens.optvis.param._base import Parameterization

    Param = Parameterization
    Colors = jax.Array | np.ndarray[Any, Any]
    Params = Iterable[Parameterization]
    Shape = Sequence[int] | np.ndarray[Any, Any]
    Offset = bool | int | Sequence[int] | np.ndarray[Any, Any]
    Decorrelate = bool | ArrayLike | Sequence[Sequence[float]]
    Matrix = ArrayLike | Sequence[Sequence[float]]
    Mask = ArrayLike | Sequence[Sequence[float]]
    Batches = ArrayLike | Iterable[ArrayLike]
    Init = Callable[[jax.Array], Any]
    ToImage = Callable[[Any], jax.Array]
    Forward = Callable[[Any, Any], Any]
    Latent = int | Sequence[int]
    Activation = Callable[[jax.Array], jax.Array]
else:
    Param = Params = Colors = Shape = Offset = Decorrelate = Matrix = Mask = Batches = Any
    Init = ToImage = Forward = Latent = Activation = Any
