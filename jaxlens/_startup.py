"""Ctrl-C while the command line loads or ends: the same text and exit status as later, and no traceback."""

import os
import signal
import sys
import threading
from typing import Any

INTERRUPTED = "Interrupted."
STATUS = 130  # of Ctrl-C: 128 + SIGINT, as shells have it


def is_command() -> bool:
    """Whether this process is `jaxlens` or `python -m jaxlens`, and not a program that imports jaxlens."""
    words = sys.orig_argv[1:]
    module = words[words.index("-m") + 1 :][:1] if "-m" in words and sys.argv[:1] == ["-m"] else []
    return module in (["jaxlens"], ["jaxlens.cli"]) or os.path.basename(sys.argv[0] if sys.argv else "") == "jaxlens"


def leave_on_interrupt() -> None:
    """Ctrl-C ends the process at once. For when nothing has been begun, or all is done."""
    if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, _leave)


def raise_on_interrupt() -> None:
    """Ctrl-C raises KeyboardInterrupt, as Python has it; one that is raised where Python ignores errors comes again."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = _again


def _leave(number: int, frame: Any) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(STATUS)


def _again(lost: Any) -> None:
    """Of an error in a finalizer: Ctrl-C is sent anew a moment later, others are printed as ever."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,)).start()
    else:
        sys.__unraisablehook__(lost)
