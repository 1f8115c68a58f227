"""Forward functions with equality by their parts, so that Models of one network share programs."""

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

    If a part has no hash, such as a module with a list or dict among its settings, the function
    equals itself only.
    """

    def __init__(self, network: Any, output: Callable[[Any], Any] | None, call: Any, method: str | None = None):
        if output is not None and not callable(output):
            raise TypeError(
                f"output={shortened(output)} must be a function that picks the logits from what the network returns."
            )
        self.network, self.output, self.kwargs, self.method = network, output, _keywords(call), method
        self._parts: Any = (type(self), self.key(), output, self.kwargs, method)
        try:
            self._hash = hash(self._parts)  # slow for a deep network: computed once
        except TypeError:
            self._parts, self._hash = object(), id(self)

    def key(self) -> Any:
        """Return the part of the network by which functions are compared."""
        return self.network

    def updated(self, source: Any) -> "tuple[Forward, Any]":
        """Return function and parameters of another state of the network; see `Model.update`."""
        return self, source

    def of(self, network: Any) -> "Forward":
        """Return the function for another state of the network.

        It is the same object if only arrays have changed, so that nothing is compiled again.
        """
        other = type(self)(network, self.output, dict(self.kwargs), self.method)
        try:
            same = bool(self.key() == other.key())
        except Exception:  # settings such as arrays cannot be compared
            same = False
        return self if same else other

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Forward) and self._hash == other._hash and self._parts == other._parts)

    def __reduce__(self) -> Any:
        return type(self), (self.network, self.output, dict(self.kwargs), self.method)

    def picked(self, out: Any) -> Any:
        """Return the logits, out of what the network returned."""
        return out if self.output is None else self.output(out)
