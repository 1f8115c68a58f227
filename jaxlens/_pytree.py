"""Frozen dataclasses that are JAX pytrees, with `static` declared per field."""

import dataclasses
import functools
from typing import Any, Literal, TypeVar, dataclass_transform

import jax
import numpy as np

T = TypeVar("T")


def field(
    *,
    static: bool = False,
    rank: int | None = None,
    role: Literal["layer", "image"] | None = None,
    **kwargs: Any,
) -> Any:
    """Return a dataclass field that says how JAX should see it.

    Args:
        static: whether the field is part of the tree structure (names, shapes, flags, callables).
            It must be hashable, and a new value is a new program. Other fields are leaves or
            subtrees.
        rank: for array leaves, the number of axes of a single, unbatched value. It tells a batch of
            objectives from one objective.
        role: what a static field of an objective holds. "layer": the name of a layer that the
            objective reads, or a tuple of names. "image": the index of one of a task's images, or
            None. A field with a role is static.
        **kwargs: passed to `dataclasses.field`.
    """
    metadata = {"static": static or role is not None, "rank": rank, "role": role}
    return dataclasses.field(metadata=metadata | kwargs.pop("metadata", {}), **kwargs)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def pytree(cls: type[T]) -> type[T]:
    """Make a frozen, keyword-only dataclass and register it as a pytree.

    Unflattening bypasses `__init__`, because JAX rebuilds trees with tracers, `None` and shape
    structs in place of arrays. Checks in `__post_init__` therefore run at construction only.
    `eq=False`, because `==` on arrays has no truth value.
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
    """Refuse what JAX accepts once and fails on later, when it compares two trees."""
    if isinstance(value, jax.Array | np.ndarray):
        raise TypeError(f"{cls}.{name} is static but got an array of shape {value.shape}; use a leaf field or a tuple.")
    try:
        hash(value)
    except TypeError as error:
        raise TypeError(f"{cls}.{name} is static and must be hashable, but got {value!r}; use a tuple.") from error
