"""Replace functions of other libraries while a forward pass is traced."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_LOCK = threading.RLock()
_ABSENT = object()
_IN_PLACE: dict[tuple[Any, str], tuple[int, Any]] = {}  # users, and the owner's own value


@contextlib.contextmanager
def replaced(replacements: Sequence[tuple[Any, str, Callable[[Any], Any]]]) -> Iterator[None]:
    """Replace attributes inside the `with`, and restore them afterwards.

    Other threads see the replacements too, so each must do what the original does where it is not
    meant.

    Args:
        replacements: an owner (a class or module), the attribute's name, and
            `wrap(original) -> replacement`.
    """
    put: list[tuple[Any, str]] = []
    try:
        with _LOCK:
            for owner, name, wrap in replacements:
                count, own = _IN_PLACE.get((owner, name), (0, _ABSENT))
                if not count:
                    own = vars(owner).get(name, _ABSENT)
                    setattr(owner, name, wrap(getattr(owner, name)))
                _IN_PLACE[owner, name] = (count + 1, own)
                put.append((owner, name))
        yield
    finally:
        with _LOCK:
            for owner, name in reversed(put):
                count, own = _IN_PLACE.pop((owner, name))
                if count > 1:
                    _IN_PLACE[owner, name] = (count - 1, own)
                elif own is _ABSENT:
                    delattr(owner, name)
                else:
                    setattr(owner, name, own)
