"""Arguments and options that commands share: types, MODEL and its weights, and where to write."""

import dataclasses
import functools
import math
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from jaxlens import modelzoo
from jaxlens._checks import SEEDS
from jaxlens.cli._output import Command, say
from jaxlens.graph import GraphForward

PICTURE = click.Path(path_type=Path, exists=True, dir_okay=False)
DEFAULT_MODEL = "lensnet"


class Whole(click.IntRange):
    """A whole number from `low` to `high`. No sensible value comes near `high`."""

    def __init__(self, low: int, high: int):
        super().__init__(min=low)
        self.high = high

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number, or refuse one that no machine could work with."""
        number = super().convert(value, param, ctx)
        if number > self.high:
            self.fail(f"{number} is more than {self.high}.", param, ctx)
        return number


class Number(click.FloatRange):
    """A finite number."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number, or refuse NaN and infinity."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


SIDE, STEPS, COUNT, SEED = Whole(1, 1 << 14), Whole(1, 10**7), Whole(1, 1 << 20), Whole(0, SEEDS - 1)


class Out(click.ParamType):
    """The path of a file or of a folder to write."""

    name = "path"

    def __init__(self, folder: bool = False):
        self.folder = folder

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        """Return the path. `~` stands for the home folder."""
        kind = "folder" if self.folder else "file"
        text = os.fspath(value)
        if not text.strip() or "\0" in text:
            self.fail(f"{text!r} names no {kind}.", param, ctx)
        try:
            path = Path(text).expanduser()
            if path.exists() and path.is_dir() != self.folder:
                self.fail(f"{text!r} is a {'file' if self.folder else 'folder'}. Name a {kind}.", param, ctx)
        except (OSError, RuntimeError) as error:  # too long, or no home
            self.fail(f"{text!r} cannot be written to ({getattr(error, 'strerror', None) or error}).", param, ctx)
        return path


@dataclasses.dataclass(frozen=True)
class Source:
    """The network that MODEL and --weights name. It is loaded after everything else is checked."""

    model: str
    weights: str

    def load(self, warn: bool = True) -> Any:
        """Load a network of the zoo, or the one in a file that `modelzoo.save` wrote.

        Args:
            warn: Say that random weights make an untrained network.
        """
        path = Path(self.model).expanduser()
        if path.suffix != ".safetensors" and path.is_file():
            raise click.UsageError(
                f"MODEL {self.model!r} is a file. A saved network is a .safetensors file; for weights name the network "
                f"too, NAME and --weights {self.model}. MODEL comes before every other argument."
            )
        random = self.weights.lower() == "none"
        network = modelzoo.load(self.model, weights=None if random else self.weights)
        if random and warn:
            say("Random weights: this is an untrained network. Pass --weights for a trained one.", err=True)
        return network


def network_command(default: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command whose first argument is MODEL.

    Args:
        default: The network without MODEL. None: MODEL must be given.
        **settings: As `click.command` takes them.
    """
    model = click.argument("model") if default is None else click.argument("model", default=default)
    return lambda function: click.command(cls=Command, **settings)(model(function))


def network_options(command: Callable[..., Any], *, shapes_only: bool = False) -> Callable[..., Any]:
    """Add `--weights`. The command gets MODEL and its weights as `source`.

    Args:
        command: A function that takes `source`.
        shapes_only: The command needs no weights, so that those of the zoo are not downloaded by
            default.
    """

    @click.option(
        "--weights",
        metavar="W",
        help="DEFAULT, the name of a torchvision weights set, a .pth or .safetensors file, or none for random weights.  "
        f"[default: {'none, or the weights of a saved network' if shapes_only else 'DEFAULT'}]",
    )
    @functools.wraps(command)
    def run(model: str, weights: str | None, **options: Any) -> Any:
        default = "none" if shapes_only and not model.endswith(".safetensors") else "DEFAULT"
        return command(source=Source(model, default if weights is None else weights), **options)

    return run


def seed_option(command: Any) -> Any:
    """Add `--seed`."""
    said = "The same seed gives the same pictures."
    return click.option("--seed", type=SEED, default=0, show_default=True, help=said)(command)


def out_option(command: Any) -> Any:
    """Add `--out`, the file to write."""
    return click.option("--out", required=True, type=Out(), help="The file to write.")(command)


def layer_option(said: str) -> Callable[..., Any]:
    """Add `--layer`, which may be given several times. The command gets `layers`, a tuple."""
    return click.option("--layer", "layers", multiple=True, help=said)


def size_option(said: str) -> Callable[..., Any]:
    """Add `--size`."""
    return click.option("--size", type=SIDE, help=said)


def steps_option(default: int, said: str = "Number of optimization steps.") -> Callable[..., Any]:
    """Add `--steps`."""
    return click.option("--steps", type=STEPS, default=default, show_default=True, help=said)


def render_options(command: Any) -> Any:
    """Add `--batch-size`, `--memory-limit` and `--compute-dtype`.

    The command gets them as `render` takes them.
    """

    @click.option(
        "--batch-size",
        type=COUNT,
        help="Number of pictures that are rendered together. A smaller number takes less memory.  "
        "[default: one for two cores, 64 on a GPU]",
    )
    @click.option(
        "--memory-limit",
        type=Number(min=0, min_open=True, max=1e6),
        metavar="GB",
        help="Render so few pictures together that they stay below this.",
    )
    @click.option(
        "--compute-dtype",
        metavar="DTYPE",
        help="Number type in which the network computes, such as bfloat16 on a GPU.  [default: that of the weights]",
    )
    @functools.wraps(command)
    def run(memory_limit: float | None, **options: Any) -> Any:
        return command(memory_limit=None if memory_limit is None else max(1, round(memory_limit * 1e9)), **options)

    return run


def own_size(network: Any) -> tuple[int, int] | None:
    """Return the image size that the author of an imported network chose; None for the zoo's."""
    height, width = network.input_size
    return (height, width) if isinstance(network.forward, GraphForward) else None


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written to, or made, before anything long runs.

    Makes nothing.
    """
    try:
        there = folder
        while not there.exists():
            there = there.parent
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise click.ClickException(
            f"--out {str(folder)!r} cannot be written to ({error.strerror}). Name another folder."
        ) from error


def refuse_inputs(out: Path, inputs: Iterable[Any]) -> None:
    """Refuse to write a file that is read, under whatever name or link."""
    for each in inputs:
        path = Path(each).expanduser() if each else None
        if not path or not path.exists():
            continue
        # Compare names too: `new/../photo.jpg` exists as soon as the folder is made.
        if out.resolve() == path.resolve() or (out.exists() and out.samefile(path)):
            raise click.ClickException(
                f"--out {str(out)!r} is the input {str(each)!r}, which would be lost. Name another file."
            )
