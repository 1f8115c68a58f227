"""Marks that a trace reads: a function keeps its own gradient, or uses JAX's own operators."""

import functools
import types
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import jax

from jaxlens._checks import as_names

F = TypeVar("F", bound=Callable[..., Any])

MARK = "plain_gradient_"  # how the name of a jitted function begins that keeps its own gradient

# True while a function is traced by code that reads pools and convolutions. Hand-written kernels
# (`_kernels`) then use JAX's own operators, whose windows can be read. It is a context of JAX's, so
# that JAX traces inner `jax.jit`s anew for it.
OPERATORS_WANTED = jax.make_user_context(False)


def operators_wanted() -> bool:
    """Return whether the trace in progress reads JAX's own pools and convolutions."""
    return OPERATORS_WANTED.value


def plain_gradient(fn: F, *, static_argnames: str | Sequence[str] = ()) -> F:
    """Mark a function that keeps its own gradient under every rule, such as a normalization.

    Rules that change max-pools refuse a marked function with "max_pool" in its name rather than
    pass it by. The result is a `jax.jit` of the name `plain_gradient_<name of fn>`, by which rules
    know it. `jax.disable_jit` hides the mark, and rules then refuse what is inside.

    Args:
        fn: arrays in, arrays out. The hashable keywords of a `functools.partial` are static. A
            partial that is made anew on every call costs no retrace, because the jitted function is
            kept on the function inside.
        static_argnames: as in `jax.jit`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.model import rules
        >>> @rules.plain_gradient
        ... def unit_norm(x):
        ...     return x / jnp.sqrt((x**2).sum() + 1e-6)
        >>> unit_norm(jnp.array([0.0, 4.0])).round(2).tolist()
        [0.0, 1.0]
    """
    static = set(as_names(static_argnames, "static_argnames"))
    if isinstance(fn, functools.partial):
        static |= {name for name, v in fn.keywords.items() if isinstance(v, Hashable) and not isinstance(v, jax.Array)}
        inner = plain_gradient(fn.func, static_argnames=sorted(static))
        return functools.partial(inner, *fn.args, **fn.keywords)  # type: ignore[return-value]
    key, cache = tuple(sorted(static)), getattr(fn, "__plain_gradient__", None)
    if cache is None or cache[0] is not fn:  # `functools.wraps` copies attributes: not ours then
        cache = (fn, {})
        if isinstance(fn, types.FunctionType):  # a module that is called may count its attributes as state
            fn.__plain_gradient__ = cache  # type: ignore[attr-defined]
    if key not in cache[1]:

        @functools.wraps(fn)
        def marked(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        marked.__name__ = marked.__qualname__ = MARK + getattr(fn, "__name__", type(fn).__name__).strip("<>")
        cache[1][key] = jax.jit(marked, static_argnames=key)
    return cache[1][key]
