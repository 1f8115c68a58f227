"""What the command line prints, and how it ends: one text and exit status for each outcome."""

import os
import re
import sys
import time
import warnings
from typing import Any

import click

from jaxlens._startup import INTERRUPTED, STATUS

# Words of functions that an option of another name stands for. Layers and targets are told as `layer='conv9'` everywhere.
_SAID = ("weights", "size", "steps", "seed", "batch_size", "memory_limit", "compute_dtype", "octaves", "rate", "frames")
_SAID += ("factor", "fps", "crops", "strength", "cossim_pow", "style_weight", "tile", "out")


def printable(text: object) -> str:
    """Any text as one that does nothing to a terminal: labels, names and what servers say come from strangers."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in str(text))


def say(text: object, err: bool = False) -> None:
    """Prints a line. A reader that has gone away is no error: the work goes on."""
    stream = sys.stderr if err else sys.stdout
    line = printable(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        click.echo(line.encode(encoding, "replace").decode(encoding), err=err)
    except BrokenPipeError:
        _forget(stream)


def _forget(stream: Any) -> None:
    """Sends what is still written to a closed pipe to nowhere, also what Python flushes at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Interrupted(click.ClickException):
    """Ctrl-C, after what there was has been kept and told."""

    exit_code = STATUS

    def show(self, file: Any = None) -> None:
        """Prints the one text."""
        say(self.message, err=True)


def interrupted(kept: str) -> Interrupted:
    """The error that ends an interrupted command, with what is kept."""
    return Interrupted(f"{INTERRUPTED} {kept}")


def seconds() -> float:
    """Since the command began, by the clock on the wall."""
    return time.perf_counter() - click.get_current_context().meta["jaxlens.began"]


class Guarded(click.Command):
    """A command whose errors are messages in the words of the command line, without a traceback."""

    def main(self, args: Any = None, prog_name: Any = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Runs a program, and exits with its status."""
        if not standalone_mode:
            return super().main(args, prog_name, *rest, standalone_mode=False, **extra)
        try:
            code = super().main(args, prog_name, *rest, standalone_mode=False, **extra)
        except click.ClickException as error:
            vars(error)["message"] = printable(error.message)
            try:
                error.show()
            except BrokenPipeError:
                _forget(sys.stderr)
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            say(INTERRUPTED, err=True)
            code = STATUS
        sys.exit(code if isinstance(code, int) else 0)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Reads the arguments, and prints help."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError:
            _forget(sys.stdout)
            raise click.exceptions.Exit(0) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        ctx.meta.setdefault("jaxlens.began", time.perf_counter())
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_: say(f"Warning: {message}", err=True)
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            _forget(sys.stdout)
            raise click.exceptions.Exit(0) from None
        except Exception as error:
            if ctx.find_root().params.get("debug"):
                raise
            raise click.ClickException(in_words(error, ctx)) from error


class Command(Guarded):
    """One verb."""


class Group(Guarded, click.Group):
    """All verbs."""


_TOLD = (ValueError, TypeError, LookupError, ArithmeticError, OSError, ImportError, MemoryError)


def in_words(error: Exception, ctx: click.Context) -> str:
    """An error of a function, with the options of the command in the place of its arguments."""
    text = str(error) or type(error).__name__
    if not isinstance(error, _TOLD):
        text = f"{type(error).__name__}: {text}\n`jaxlens --debug` before the command shows where."
    for option in ctx.command.params:
        name, flag = option.name or "", option.opts[0]
        if not isinstance(option, click.Option) or name not in _SAID:
            continue
        text = re.sub(rf"(?<![\w.-]){name}=None\b", f"{flag} none", text)
        text = re.sub(rf"(?<![\w.-]){name}=(?=\S)", f"{flag} ", text)
        if name == "out" and (out := ctx.params.get("out")) is not None:
            text = text.replace(f"path={str(out)!r}", f"{flag} {str(out)!r}")
    return re.sub(r"(?<![\w-])memory_limit\b", "--memory-limit", text)
