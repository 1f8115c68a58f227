"""Ctrl-C between two steps and not within one."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


class _Deferred:
    """A handler of SIGINT that notes the first one, and hands on those after it.

    A handler of the user's own is called at once, as without us; if it raises KeyboardInterrupt, that is what is noted.
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
    """Within the `with` block Ctrl-C is noted, and what the block gets tells whether it was pressed.

    A step takes the memory of the state before it: an exception between the call and the assignment would leave no state.
    A second Ctrl-C does what it did before. A block within a block shares what is noted. One that nobody asked about is raised
    at the end, so that none is lost. Only the main thread ever gets Ctrl-C; elsewhere nothing changes.
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
        if signal.getsignal(signal.SIGINT) is deferred:  # else a callback has set another, which stays
            signal.signal(signal.SIGINT, previous)
    if deferred.pressed and not deferred.seen:
        raise KeyboardInterrupt
