"""Forward functions that are compared by what they were made of, so that two Models of one network share their programs."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxlens._checks import shortened


def _keywords(call: Any) -> tuple[tuple[str, Any], ...]:
    if call is None:
        return ()
    if not isinstance(call, Mapping) or not all(isinstance(name, str) for name in call):
        raise TypeError(f"call={shortened(call)} must be keyword arguments by name, such as {{'train': False}}.")
    return tuple(sorted(call.items()))


class Forward:
    """The forward function of a network of some library; equal parts make equal functions.

    Parts that have no hash, such as a module that keeps a list or dict among its settings, make one that equals itself only.
    """

    def __init__(self, network: Any, output: Callable[[Any], Any] | None, call: Any, method: str | None = None):
        if output is not None and not callable(output):
            raise TypeError(
                f"output={shortened(output)} must be a function that picks the logits from what the network returns."
            )
        self.network, self.output, self.kwargs, self.method = network, output, _keywords(call), method
        self._parts: Any = (type(self), self.key(), output, self.kwargs, method)
        try:
            self._hash = hash(self._parts)  # of a deep network: worth computing once, not at each call
        except TypeError:
            self._parts, self._hash = object(), id(self)

    def key(self) -> Any:
        """What the network is compared by."""
        return self.network

    def updated(self, source: Any) -> "tuple[Forward, Any]":
        """The forward function and the parameters of another state of the network; see `Model.update`."""
        return self, source

    def of(self, network: Any) -> "Forward":
        """The same for another state of the network: itself if nothing but arrays has changed, so that nothing is compiled."""
        other = type(self)(network, self.output, dict(self.kwargs), self.method)
        try:
            same = bool(self.key() == other.key())
        except Exception:  # a setting of a kind that cannot be compared, such as an array
            same = False
        return self if same else other

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Forward) and self._hash == other._hash and self._parts == other._parts)

    def __reduce__(self) -> Any:
        return type(self), (self.network, self.output, dict(self.kwargs), self.method)

    def picked(self, out: Any) -> Any:
        """The logits of what the network returned."""
        return out if self.output is None else self.output(out)
