"""Defer Ctrl-C to the time between two steps."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


class _Deferred:
    """A handler of SIGINT that notes the first signal and passes later ones on.

    A handler of the user's own is called at once; if it raises KeyboardInterrupt, that is noted.
    """

    def __init__(self, previous: Callable[[int, Any], Any]):
        self.previous = previous
        self.pressed = False
        self.seen = False

    def __call__(self, number: int, frame: Any) -> None:
        if self.pressed:
            self.previous(number, frame)
        elif self.previous is signal.default_int_handler:
            self.pressed = True
        else:
            try:
                self.previous(number, frame)
            except KeyboardInterrupt:
                self.pressed = True

    def asked(self) -> bool:
        self.seen |= self.pressed
        return self.pressed


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C inside the `with` block, and yield a function that tells whether it was pressed.

    A step reuses the memory of the state before it, so an exception between the call and the
    assignment would leave no state. A second Ctrl-C has its usual effect. Nested blocks share one
    note. If nobody asked the function after Ctrl-C, the end of the block raises KeyboardInterrupt.
    Outside the main thread, which alone gets Ctrl-C, nothing changes.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield lambda: False
        return
    if isinstance(previous, _Deferred):
        yield previous.asked
        return
    deferred = _Deferred(previous)
    signal.signal(signal.SIGINT, deferred)
    try:
        yield deferred.asked
    finally:
        if signal.getsignal(signal.SIGINT) is deferred:  # a callback may have set another: it stays
            signal.signal(signal.SIGINT, previous)
    if deferred.pressed and not deferred.seen:
        raise KeyboardInterrupt
