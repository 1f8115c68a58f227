"""The table of operators, from PyTorch's name to a function of Tensors, and how to write one."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxlens.errors import UnsupportedOperatorError
from jaxlens.graph._tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

# The name is PyTorch's for functions, methods and ATen operators alike, without the underscore of
# in-place variants.
OPS: dict[str, Callable[..., Any]] = {}


def op(*names: str, attention: bool = False) -> Callable[[F], F]:
    """Enter a function into the table.

    The function takes what PyTorch's takes, under the same names and with the same defaults, and
    returns the same, with `Tensor` for PyTorch's tensors. It must raise `UnsupportedOperatorError`
    for an option that it does not support, and never ignore one.

    Args:
        names: the operator's names. One function serves `torch.nn.functional`, `torch`, methods
            and ATen.
        attention: whether to pass `weights_site`, which makes a site of the function that computes
            attention weights.
    """

    def enter(function: F) -> F:
        for name in names:
            OPS[name] = function
        if attention:
            function.__attention__ = True  # type: ignore[attr-defined]
        return function

    return enter


def shows_attention(function: Callable[..., Any]) -> bool:
    """Return whether an operator takes `weights_site`."""
    return getattr(function, "__attention__", False)


def elementwise(function: Callable[..., jax.Array], *operands: Any) -> Any:
    """Apply `function` to Tensors and numbers, broadcast as in PyTorch.

    The result is stored in the order of the largest operand.
    """
    tensors = [x for x in operands if isinstance(x, Tensor)]
    if not tensors:  # sizes: the arithmetic of numbers
        return function(*operands)
    ndim = max(x.ndim for x in tensors)
    lead = max((x for x in tensors if x.ndim == ndim), key=lambda x: x.data.size).expanded(ndim)
    arrays = [x.expanded(ndim).in_order(lead.order) if isinstance(x, Tensor) else x for x in operands]
    channels = [x.expanded(ndim).channel for x in (lead, *tensors)]
    return Tensor(function(*arrays), lead.order, next((c for c in channels if c is not None), None))


def refuse(condition: Any, message: str) -> None:
    """Raise `UnsupportedOperatorError` if the condition holds."""
    if condition:
        raise UnsupportedOperatorError(message)


def pair(value: Any, axes: int = 2) -> tuple[int, ...]:
    """Return one number for each axis, from PyTorch's number for all axes or one for each."""
    if isinstance(value, int):
        return (value,) * axes
    return tuple(value) * axes if len(value) == 1 else tuple(value)


def float_dtype(x: jax.Array) -> jnp.dtype:
    """Return the dtype of a mean or root of `x`: its own, or float32 for integers."""
    return x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.dtype(jnp.float32)


def numbers(sizes: Sequence[Any]) -> tuple[int, ...]:
    """Return sizes that are given one by one or as one list: `view(2, 3)`, `view((2, 3))`."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = sizes[0]
    return tuple(int(n) for n in sizes)
