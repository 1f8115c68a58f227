"""Frozen dataclasses that are JAX pytrees, with `static` declared per field."""

import dataclasses
import functools
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

T = TypeVar("T")


def field(*, static: bool = False, rank: int | None = None, **kwargs: Any) -> Any:
    """A dataclass field that says how JAX should see it.

    Args:
        static: part of the tree structure (names, shapes, flags, callables): hashable,
            and a new value is a new program. Otherwise the field is a leaf or subtree.
        rank: for array leaves, the number of axes of a single, unbatched value. It is
            what lets a stack of objectives be told apart from one objective.
        **kwargs: passed to `dataclasses.field`.
    """
    metadata = {"static": static, "rank": rank} | kwargs.pop("metadata", {})
    return dataclasses.field(metadata=metadata, **kwargs)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def pytree(cls: type[T]) -> type[T]:
    """Makes a frozen, keyword-only dataclass and registers it as a pytree.

    Unflattening bypasses `__init__`, because JAX rebuilds trees with tracers, `None` and
    shape structs in place of arrays; checks written in `__post_init__` therefore run at
    construction only. `eq=False`, because `==` on arrays has no truth value.
    """
    cls = dataclasses.dataclass(frozen=True, kw_only=True, eq=False)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    static = tuple(f.name for f in fields if f.metadata.get("static"))
    data = tuple(f.name for f in fields if not f.metadata.get("static"))
    plain_init = cls.__init__

    @functools.wraps(plain_init)
    def checked_init(self: Any, *args: Any, **kwargs: Any) -> None:
        plain_init(self, *args, **kwargs)
        for name in static:
            _check_static(cls.__name__, name, getattr(self, name))

    cls.__init__ = checked_init  # type: ignore[method-assign]

    def flatten_with_keys(obj: Any) -> tuple[Any, Any]:
        keyed = tuple((jax.tree_util.GetAttrKey(n), getattr(obj, n)) for n in data)
        return keyed, tuple(getattr(obj, n) for n in static)

    def flatten(obj: Any) -> tuple[Any, Any]:
        return tuple(getattr(obj, n) for n in data), tuple(getattr(obj, n) for n in static)

    def unflatten(aux: Any, children: Any) -> Any:
        obj = object.__new__(cls)
        for name, value in (*zip(data, children, strict=True), *zip(static, aux, strict=True)):
            object.__setattr__(obj, name, value)
        return obj

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def _check_static(cls: str, name: str, value: Any) -> None:
    """Refuses what JAX accepts once and fails on later, when it compares two trees."""
    if isinstance(value, jax.Array | np.ndarray):
        raise TypeError(f"{cls}.{name} is static but got an array of shape {value.shape}; use a leaf field or a tuple.")
    try:
        hash(value)
    except TypeError as error:
        raise TypeError(f"{cls}.{name} is static and must be hashable, but got {value!r}; use a tuple.") from error
