"""Options that commands share: their types, the network, and where pictures go."""

import functools
import math
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from jaxlens import modelzoo
from jaxlens._checks import SEEDS
from jaxlens.graph import GraphForward

PICTURE = click.Path(path_type=Path, exists=True, dir_okay=False)
WEIGHTS = "DEFAULT, a torchvision weights name, a .pth or .safetensors file, or none for random weights."


class Whole(click.IntRange):
    """A whole number from `low` up to `high`, which nobody means to reach."""

    def __init__(self, low: int, high: int):
        super().__init__(min=low)
        self.high = high

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Refuses what no machine could do."""
        number = super().convert(value, param, ctx)
        if number > self.high:
            self.fail(f"{number} is more than {self.high}.", param, ctx)
        return number


class Number(click.FloatRange):
    """A finite number."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Refuses what is in every range, or has no end."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


SIDE, STEPS, COUNT, SEED = Whole(1, 1 << 14), Whole(1, 10**7), Whole(1, 1 << 20), Whole(0, SEEDS - 1)


class Out(click.ParamType):
    """Where to write: the path of a file, or of a folder."""

    name = "path"

    def __init__(self, folder: bool = False):
        self.folder = folder

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        """The path, with `~` for the home folder."""
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


def seed_option(command: Any) -> Any:
    """`--seed`."""
    return click.option("--seed", type=SEED, default=0, show_default=True, help="The same seed gives the same pictures.")(
        command
    )


def weights_option(command: Any) -> Any:
    """`--weights`."""
    return click.option("--weights", default="DEFAULT", show_default=True, metavar="W", help=WEIGHTS)(command)


def out_option(command: Any) -> Any:
    """`--out`, a file."""
    return click.option("--out", required=True, type=Out(), help="The file to write.")(command)


def render_options(command: Any) -> Any:
    """`--batch-size`, `--memory-limit` and `--compute-dtype`, of all that renders; the command gets them as `render` does."""

    @click.option(
        "--batch-size",
        type=COUNT,
        help="Pictures rendered together; less takes less memory.  [default: one for two cores, 64 on a GPU]",
    )
    @click.option(
        "--memory-limit",
        type=Number(min=0, min_open=True, max=1e6),
        metavar="GB",
        help="Render fewer pictures together to stay under this.",
    )
    @click.option(
        "--compute-dtype", metavar="DTYPE", help="Of the network, such as bfloat16 on a GPU.  [default: the weights']"
    )
    @functools.wraps(command)
    def run(memory_limit: float | None, **options: Any) -> Any:
        return command(memory_limit=None if memory_limit is None else max(1, round(memory_limit * 1e9)), **options)

    return run


def open_network(model: str, weights: str) -> Any:
    """A network of the zoo, or the one in a file that `modelzoo.save` wrote."""
    path = Path(model).expanduser()
    if path.suffix != ".safetensors" and path.is_file():
        raise click.UsageError(
            f"MODEL {model!r} is a file. A saved network is a .safetensors file; for weights name the network too, "
            f"NAME and --weights {model}."
        )
    return modelzoo.load(model, weights=None if weights.lower() == "none" else weights)


def warn_random(weights: str) -> str:
    """What to say of pictures of random weights; nothing for others."""
    return (
        "Random weights: this is an untrained network. Pass --weights for a trained one." if weights.lower() == "none" else ""
    )


def own_size(network: Any) -> tuple[int, int] | None:
    """The size of the images of an imported network, which its author chose; None for networks of the zoo."""
    height, width = network.input_size
    return (height, width) if isinstance(network.forward, GraphForward) else None


def check_writable(folder: Path) -> None:
    """Tries the folder, or the one in which it will be made, before anything long runs. Nothing is made."""
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
    """Refuses to write a file that is read, by whatever name or link."""
    for each in inputs:
        path = Path(each).expanduser() if each else None
        if not path or not path.exists():
            continue
        # by its name too: `new/../photo.jpg` is there as soon as the folder is made
        if out.resolve() == path.resolve() or (out.exists() and out.samefile(path)):
            raise click.ClickException(
                f"--out {str(out)!r} is the input {str(each)!r}, which would be lost. Name another file."
            )
