"""Functions of activations as objectives."""

import functools
import inspect
import re
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, overload

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import shortened
from jaxlens._pytree import field, pytree
from jaxlens.optvis.objectives._base import Activations, Objective

P = ParamSpec("P")


class Constantly:
    """A builder of one function, whatever it is called with; equal where the function is."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function

    def __hash__(self) -> int:
        return hash(self.function)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constantly) and self.function == other.function

    def __call__(self) -> Callable[..., Any]:
        return self.function


@pytree
class Function(Objective):
    """A function of activations as an objective; see `wrap_objective`.

    Two calls with equal `arguments` are equal objectives.
    """

    build: Callable[..., Callable[[Callable[[str], Array]], Array]] = field(static=True)
    arguments: tuple[Any, ...] = field(static=True, default=())
    names: tuple[str, ...] = field(role="layer", default=())
    label: str = field(static=True, default="objective")

    def __call__(self, activations: Activations) -> Float[Array, ""]:
        args, kwargs = self.arguments or ((), ())
        return jnp.asarray(self.build(*args, **dict(kwargs))(lambda layer: activations[layer]))

    def bind(self, model: Any) -> Objective:
        """Find the layers it reads by a call on shapes, and bad indices by a call on zeros."""
        seen: dict[str, str] = {}

        def look(layer: str) -> Array:
            name = seen.setdefault(layer, model.resolve(layer))
            return jnp.zeros((1, *model.layers[name].shape), jnp.float32)

        args, kwargs = self.arguments or ((), ())
        function = self.build(*args, **dict(kwargs))
        _refuse_losses(function, self.label)
        _refuse_indices(function, self.label, model)
        out = jax.eval_shape(lambda: _number(function(look), self.label))
        if out.shape != ():
            raise ValueError(
                f"{self.label} returned an array of shape {out.shape}, but an objective is one number; take a mean."
            )
        if not seen:
            raise ValueError(f"{self.label} reads no layer; call its argument with a layer name: T('mixed4a').")
        translated = _Translated(self.build, tuple(sorted(seen.items())))
        return Function(build=translated, arguments=self.arguments, names=tuple(dict.fromkeys(seen.values())), label=self.label)

    def describe(self, task: int = 0) -> str:
        return self.label


def _number(value: Any, label: str) -> Array:
    if not isinstance(value, jax.Array | np.ndarray | np.number | float | int):
        raise TypeError(f"{label} returned {shortened(value)}, but an objective is one number, made of what it reads.")
    return jnp.asarray(value)


def _refuse_losses(function: Any, label: str) -> None:
    """Raise for functions written for Lucent, which would run and mean something else."""
    if not callable(function):
        raise TypeError(f"{label} gives {function!r}, but a function T -> score is needed.")
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # some callables have none
        return
    if names[:1] == ["model"]:
        raise ValueError(
            f"{label} takes `model`, as Lucent's functions do: losses to be minimised, of activations with the channels first. "
            "objectives.lucent(function) takes it as it is. A score to be maximised, of activations [B, H, W, C], is a "
            "function of `T`: give the argument that name."
        )


def _refuse_indices(function: Callable[..., Any], label: str, model: Any) -> None:
    """Raise for an index outside a layer, by a call on NumPy arrays.

    JAX would read the last channel or position in its place.
    """

    def zeros(layer: str) -> np.ndarray:
        return np.zeros((1, *model.layers[model.resolve(layer)].shape), np.float32)

    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(zeros)
    except IndexError as error:
        found = re.search(r"index (-?\d+) is out of bounds for axis (\d+) with size (\d+)", str(error))
        if found and found[2] != "0":  # not the axis of images, of which a task may have several
            raise ValueError(
                f"{label} reads index {found[1]} of an axis of {found[3]} (axis {found[2]}): nothing is there. "
                f"Its indices are 0..{int(found[3]) - 1}."
            ) from error
    except Exception:  # what NumPy cannot do, JAX may
        return


class _Translated:
    """A builder whose function names layers as the user did, and reads those of the model."""

    def __init__(self, build: Callable[..., Any], names: tuple[tuple[str, str], ...]):
        self.build, self.names = build, names

    def __hash__(self) -> int:
        return hash((self.build, self.names))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Translated) and (self.build, self.names) == (other.build, other.names)

    def __call__(self, *args: Any, **kwargs: Any) -> Callable[[Callable[[str], Array]], Array]:
        inner, names = self.build(*args, **kwargs), dict(self.names)
        return lambda read: inner(lambda layer: read(names[layer]))


@overload
def wrap_objective(function: None = None) -> Callable[[Callable[P, Any]], Callable[P, Objective]]: ...


@overload
def wrap_objective(function: Callable[P, Any]) -> Callable[P, Objective]: ...


def wrap_objective(function: Any = None) -> Any:
    """Decorator for an objective of one's own, written as in Lucid and Lucent.

    The decorated function takes hashable arguments and returns `T -> score`, where `T(layer)` is
    the activation `[B, H, W, C]` and `T("input")` the image before transforms. The score is
    maximized. (Lucent's inner functions return losses of channels-first activations: see
    `objectives.lucent`.) Calls with equal arguments share one compiled program; other arguments
    compile anew. Write an `Objective` class to sweep numbers without that.

    Example:
        >>> from jaxlens.optvis import objectives
        >>> @objectives.wrap_objective()
        ... def contrast(layer, first, second):
        ...     return lambda T: T(layer)[..., first].mean() - T(layer)[..., second].mean()
        >>> objective = contrast("mixed4a", 3, 7) - 1e-3 * objectives.total_variation()
        >>> objective.describe()
        'contrast(mixed4a, 3, 7) - 0.001*total_variation(input)'
    """
    if function is None:
        return wrap_objective

    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Objective:
        arguments = (args, tuple(sorted(kwargs.items())))
        label = f"{function.__name__}({', '.join([*map(str, args), *(f'{k}={v}' for k, v in kwargs.items())])})"
        return Function(build=function, arguments=arguments, label=label)

    return make
