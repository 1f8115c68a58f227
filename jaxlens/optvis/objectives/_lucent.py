"""Objectives written for Lucent: losses of channels-first activations."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxlens._checks import check_function, one_line
from jaxlens.optvis.objectives._base import Objective
from jaxlens.optvis.objectives._function import Constantly, Function
from jaxlens.optvis.objectives._types import Foreign


class Loss:
    """A function of Lucent's as a score: the channels come first, and the sign is turned."""

    def __init__(self, function: Callable[[Callable[[str], Any]], Any]):
        self.function = function

    def __hash__(self) -> int:
        return hash(self.function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loss) and self.function == other.function

    def __call__(self, T: Callable[[str], Any]) -> Any:
        def model(layer: str) -> Any:
            a = T(layer)
            return (np if isinstance(a, np.ndarray) else jnp).moveaxis(a, -1, 1) if a.ndim == 4 else a

        try:
            loss = self.function(model)
            if loss is None:
                raise TypeError("it returns None")
            loss = jnp.asarray(loss)
        except (TypeError, AttributeError) as error:
            raise TypeError(
                f"function={one_line(repr(self.function), 80)} asks of activations what JAX arrays do not do: "
                f"{one_line(error, 200)}. Write that part with "
                "jax.numpy, or take the objective of jaxlens: `direction_cossim`, for one, is Lucent's `direction`."
            ) from error
        return -loss


def lucent(function: Foreign) -> Objective:
    """Objective from a function or an objective written for Lucent.

    Lucent's functions are losses, which it minimizes, of activations with the channels first. Those
    of jaxlens are scores, which it maximizes, of activations `[B, H, W, C]`. The score of the
    result is minus the function's value.

    Args:
        function: `model -> loss`, where `model(layer)` gives activations `[B, C, H, W]` of a map,
            `[B, C]` of a vector and `[B, T, C]` of tokens, and `model("input")` the images
            `[B, C, H, W]` before transforms; or an `Objective` of Lucent's
            (`lucent.optvis.objectives.channel(...)`, and sums of them). Names of layers are those
            of either system. The function is called with JAX arrays: what only tensors of PyTorch
            do is an error.

    Returns: an objective like any other: multiply and add it.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import objectives
        >>> objective = objectives.lucent(lambda model: -model("mixed4a")[:, 7].mean())
        >>> float(objective({"mixed4a": jnp.zeros((1, 4, 4, 8)).at[..., 7].set(2.0)}))
        2.0
    """
    if isinstance(function, Objective):
        raise TypeError(f"function={function!r} is an objective of jaxlens already: use it as it is.")
    check_function(function, "function", 'lambda model: -model("mixed4a")[:, 7].mean()')
    label = getattr(function, "description", None) or getattr(function, "__name__", "objective")
    return Function(build=Constantly(Loss(function)), label=str(label))
