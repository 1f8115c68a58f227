"""Find out what a pickle would build from its operators, without running it."""

import pickletools
import zipfile
from pathlib import Path
from typing import Any

# The most parts of a tuple. A shared part counts each time, because hashing and printing visit it
# each time.
_PARTS = 1 << 20


def require_small_tuples(path: Path) -> None:
    """Raise ValueError for a file of `torch.save` with a tuple that takes forever to visit.

    60 nested pairs, each of the same object twice, have 2**60 parts. A file that is no pickle
    passes: reading it raises an error of its own.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]
    else:  # the old format: several pickles, and then the numbers
        pickles = [path.read_bytes()]
    for data in pickles:
        position = 0
        for _ in range(5):  # in the old format: magic number, version, system, contents, keys
            try:
                position += _require_small(data[position:])
            except (ValueError, IndexError, KeyError, TypeError, EOFError, UnicodeDecodeError) as error:
                if isinstance(error, _TooLargeError):
                    raise
                break
            if position >= len(data):
                break


class _TooLargeError(ValueError):
    pass


def _require_small(data: bytes) -> int:
    """Check the first pickle in `data`, and return its length."""
    stack: list[Any] = []  # the number of parts of each object; None for a mark
    memo: dict[int, int] = {}
    for op, argument, position in pickletools.genops(data):
        arg: Any = argument
        if op.name == "STOP":
            return int(position or 0) + 1
        if op.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(arg)] = stack[-1]
        elif op.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif op.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(arg)])
        elif op.name == "MARK":
            stack.append(None)
        else:
            parts = _taken(stack, op)
            for _ in op.stack_after:
                stack.append(min(1 + sum(parts), _PARTS + 1))
            if "TUPLE" in op.name and stack[-1] > _PARTS:
                raise _TooLargeError("a tuple of tuples, over and over, which would take for ever to read")
    return len(data)


def _taken(stack: list[Any], op: Any) -> list[int]:
    """Pop the arguments of an operator off the stack."""
    taken: list[int] = []
    for kind in reversed(op.stack_before):
        if kind is pickletools.stackslice:
            while stack[-1] is not None:
                taken.append(stack.pop())
        elif kind is pickletools.markobject:
            while stack.pop() is not None:
                pass
        else:
            taken.append(stack.pop())
    return taken
