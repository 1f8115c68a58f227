"""Show progress: a bar on a terminal or in a notebook, elsewhere a line now and then."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from tqdm.auto import tqdm as any_bar
from tqdm.std import tqdm as text_bar

from jaxlens._checks import check_flag, one_line

_SECONDS = 10.0  # between lines
_COMPILING = "compiling, {n_fmt}/{total_fmt} {unit}s done"
_LINE = "{percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class _Stream:
    """Standard error without control characters, for logs, and without errors if it is closed."""

    def __init__(self, stream: Any, lines: bool):
        self.stream, self.lines = stream, lines
        self.encoding = getattr(stream, "encoding", None)

    def write(self, text: str) -> None:
        if self.lines:
            text = text.strip("\r\n ").replace("\x1b[A", "")
            text = f"{text}\n" if text else ""
        with contextlib.suppress(OSError):
            self.stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self.stream.flush()

    def isatty(self) -> bool:
        return not self.lines

    def fileno(self) -> int:
        return self.stream.fileno()


class Bar:
    """A progress bar.

    It first says that a program compiles. The time left counts from the first update after that.
    """

    def __init__(self, total: int, unit: str, shown: bool = True, initial: int = 0):
        options: dict[str, Any] = {"total": total, "unit": unit, "initial": initial, "disable": not shown}
        self._usual: str | None = None
        self._compiles = True
        if "ipykernel" in sys.modules:
            self._bar: Any = any_bar(**options, desc="compiling")
            return
        lines = not (sys.stderr is not None and sys.stderr.isatty())
        self._usual = _LINE if lines else None
        every: dict[str, Any] = {"mininterval": _SECONDS, "miniters": 1} if lines else {"dynamic_ncols": True}
        self._bar = text_bar(**options, **every, file=_Stream(sys.stderr, lines), bar_format=_COMPILING)

    def compiling(self) -> None:
        """Say that a program compiles, until the next update."""
        if not self._compiles:
            self._compiles = True
            self._show(_COMPILING, "compiling")
            self._bar.refresh()

    def update(self, count: int, note: str = "") -> None:
        """Count so many more as done."""
        self._bar.set_postfix_str(one_line(note), refresh=False)
        if not self._compiles:
            self._bar.update(count)
            return
        self._compiles = False
        self._show(self._usual, "")
        self._bar.unpause()
        self._bar.update(count)
        self._bar.initial = self._bar.last_print_n = self._bar.n  # the pace counts from here

    def _show(self, form: str | None, label: str) -> None:
        if isinstance(self._bar, text_bar) and "ipykernel" not in sys.modules:
            self._bar.bar_format = form
        else:
            self._bar.set_description_str(label, refresh=False)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()


def check_progress(progress: Any) -> Any:
    """Return True, False, or the bar of a larger task, or raise."""
    return progress if isinstance(progress, Bar) else check_flag(progress, "progress")


@contextlib.contextmanager
def progress_bar(total: int, unit: str, progress: Any, initial: int = 0) -> Iterator[Bar]:
    """Yield a bar for the `with` block.

    `progress` is whether to show it, or the bar of a larger task, which is yielded and stays open.
    """
    if isinstance(progress, Bar):
        yield progress
        return
    bar = Bar(total, unit, check_flag(progress, "progress"), initial)
    try:
        yield bar
    finally:
        bar.close()
