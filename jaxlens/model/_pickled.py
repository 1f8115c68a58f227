"""Pickle Models, whose networks may hold functions of JAX such as `jax.nn.relu`.

Pickle cannot name these: they claim to be the private function inside them. Here they are pickled
by their public name.
"""

import importlib
import io
import pickle
from typing import Any

PUBLIC = ("jax.nn", "jax.numpy", "jax.lax", "flax.nnx", "flax.linen")


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        name = getattr(obj, "__name__", None)
        if not callable(obj) or isinstance(obj, type) or not isinstance(name, str):
            return NotImplemented
        for module in PUBLIC:
            if getattr(importlib.import_module(module), name, None) is obj:
                return _found, (module, name)
        return NotImplemented


def _found(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def dumps(state: Any) -> bytes:
    """`pickle.dumps` that knows the public functions of JAX and Flax."""
    buffer = io.BytesIO()
    _Pickler(buffer).dump(state)
    return buffer.getvalue()


def restored(cls: type, state: bytes) -> Any:
    """Return an instance with pickled fields."""
    made = object.__new__(cls)
    for name, value in pickle.loads(state).items():
        object.__setattr__(made, name, value)
    return made
