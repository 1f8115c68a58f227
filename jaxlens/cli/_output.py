"""What the command line prints, and how it ends: one text and one exit status for each outcome."""

import os
import re
import sys
import time
import warnings
from typing import Any

import click

from jaxlens._startup import INTERRUPTED, STATUS

# Arguments of functions whose names errors replace by those of the options. `layer='conv9'` stays
# as it is.
_SAID = ("weights", "size", "steps", "seed", "batch_size", "memory_limit", "compute_dtype", "octaves", "rate", "frames")
_SAID += ("factor", "fps", "crops", "strength", "cossim_pow", "style_weight", "tile", "out")


def printable(text: object) -> str:
    """Return a text that does nothing to a terminal.

    Labels, names and the answers of servers come from strangers.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in str(text))


def say(text: object, err: bool = False) -> None:
    """Print a line. A closed pipe is no error: the work goes on."""
    stream = sys.stderr if err else sys.stdout
    line = printable(text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        click.echo(line.encode(encoding, "replace").decode(encoding), err=err)
    except BrokenPipeError:
        _forget(stream)


def _forget(stream: Any) -> None:
    """Send all further output of a closed pipe to nowhere, also what Python flushes at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class Interrupted(click.ClickException):
    """The end of a command after Ctrl-C, once its results are written."""

    exit_code = STATUS

    def show(self, file: Any = None) -> None:
        """Print the text."""
        say(self.message, err=True)


def interrupted(kept: str) -> Interrupted:
    """Return the error that ends an interrupted command. `kept` says what is kept."""
    return Interrupted(f"{INTERRUPTED} {kept}")


def seconds() -> float:
    """Return the seconds since the command began, by the wall clock."""
    return time.perf_counter() - click.get_current_context().meta["jaxlens.began"]


# Options of earlier versions, and what to write instead.
_FORMER = {
    "--model": "No such option: --model. Write MODEL as the first argument: {path} MODEL ...",
    "--layers": "No such option: --layers. Write --layer, once for each layer: --layer mixed3a --layer 'mixed4*'",
    "--batch": "No such option: --batch. Write --batch-size.",
    "--chunk": "No such option: --chunk. Write --batch-size.",
}


class Guarded(click.Command):
    """A command that prints errors in the words of the command line, without a traceback."""

    def main(self, args: Any = None, prog_name: Any = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the program, and exit with its status."""
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
        """Read the arguments, or print the help."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError:
            _forget(sys.stdout)
            raise click.exceptions.Exit(0) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
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
    """One command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments. Refuse an option of an earlier version, and say what to write now."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if said := _FORMER.get(error.option_name):
                raise click.UsageError(said.format(path=ctx.command_path), ctx) from None
            raise


class Group(Guarded, click.Group):
    """All commands."""


_TOLD = (ValueError, TypeError, LookupError, ArithmeticError, OSError, ImportError, MemoryError)


def in_words(error: Exception, ctx: click.Context) -> str:
    """Return the text of a function's error, with options in place of the function's arguments."""
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
