"""Ctrl-C between two steps and not within one."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Within the `with` block Ctrl-C is noted, and what the block gets tells whether it was pressed.

    A step takes the memory of the state before it: an exception between the call and the assignment would leave no state.
    A second Ctrl-C does what it did before. Only the main thread ever gets Ctrl-C; elsewhere nothing changes.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield lambda: False
        return
    pressed = threading.Event()

    def note(number: int, frame: Any) -> None:
        if pressed.is_set():
            previous(number, frame)
        pressed.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
