"""Handle Ctrl-C while the command line loads or ends: the usual text and status, no traceback."""

import os
import signal
import sys
import threading
from typing import Any

INTERRUPTED = "Interrupted."
STATUS = 130  # of Ctrl-C: 128 + SIGINT, as shells have it


def is_command() -> bool:
    """Return whether this process is `jaxlens` or `python -m jaxlens`, not one that imports it."""
    words = sys.orig_argv[1:]
    module = words[words.index("-m") + 1 :][:1] if "-m" in words and sys.argv[:1] == ["-m"] else []
    return module in (["jaxlens"], ["jaxlens.cli"]) or os.path.basename(sys.argv[0] if sys.argv else "") == "jaxlens"


def leave_on_interrupt() -> None:
    """Let Ctrl-C end the process at once, before anything is begun or after all is done."""
    if threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, _leave)


def raise_on_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, again if Python ignored it where it was raised."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.unraisablehook = _again


def _leave(number: int, frame: Any) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(STATUS)


def _again(lost: Any) -> None:
    """Send Ctrl-C that hit a finalizer again a moment later; print other errors as usual."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,)).start()
    else:
        sys.__unraisablehook__(lost)
