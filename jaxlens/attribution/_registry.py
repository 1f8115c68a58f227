"""Every method by name, for what works on any of them: the command line, figures, tests, docs."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from jaxlens.attribution._entry import entry
from jaxlens.attribution._result import Attribution

Fn = TypeVar("Fn", bound=Callable[..., Any])
Meaning = Literal["signed", "sizes", "levels"]

_METHODS: dict[str, Callable[..., Attribution]] = {}
_MEANINGS: dict[str, Meaning] = {}

METHODS: Mapping[str, Callable[..., Attribution]] = MappingProxyType(_METHODS)
"""The methods that take `(model, images, target)` and need nothing else; their keywords differ."""

MEANINGS: Mapping[str, Meaning] = MappingProxyType(_MEANINGS)
"""What the values of each method in `METHODS` say; see `method`."""


def method(*, values: Meaning = "signed") -> Callable[[Fn], Fn]:
    """Make a function a method of attribution: an `entry`, in `METHODS` under its own name.

    Args:
        values: what the method's values say. "signed": positive values speak for the target and
            negative ones against it. "sizes": the magnitude of a value says how much its place
            matters; a sign, if there is one, is that of a gradient (whether a brighter pixel would
            raise the score). "levels": only differences count; the higher, the more, and 0 is
            nothing special.
    """

    def register(fn: Fn) -> Fn:
        made = entry(fn)
        _METHODS[fn.__name__] = made
        _MEANINGS[fn.__name__] = values
        return made

    return register


def methods_of(meaning: Meaning) -> frozenset[str]:
    """Return the names of the methods whose values mean this."""
    return frozenset(name for name, values in MEANINGS.items() if values == meaning)
