"""`jaxlens dream`, `style`, `invert`, `caricature`, `accentuate`, `maco`, `tile` and `zoom`: recipes on picture files."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from jaxlens import recipes
from jaxlens.cli._options import (
    COUNT,
    PICTURE,
    SIDE,
    STEPS,
    Number,
    Whole,
    check_writable,
    open_network,
    out_option,
    own_size,
    refuse_inputs,
    render_options,
    seed_option,
    warn_random,
    weights_option,
)
from jaxlens.cli._output import Command, interrupted, say, seconds
from jaxlens.cli._pictures import SIZE, by_shape, read, save_picture
from jaxlens.cli._render import DEFAULT_MODEL, default_neurons
from jaxlens.data import save_animation, to_uint8
from jaxlens.data._animation import animation_format
from jaxlens.data._image import picture_format
from jaxlens.microscope._tile import picture
from jaxlens.plot import maco_display
from jaxlens.plot._grid import grid, to_tiles

# What is chosen of lensnet where no layer is named, for the help.
_MIDDLE, _CONTENT, _STYLE = "mixed4b_5x5", "mixed3b_5x5", "conv2d2, mixed3b_5x5, mixed4b_5x5"


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every recipe has; the command gets the loaded network as `network`."""

    @click.option(
        "--model",
        default=DEFAULT_MODEL,
        show_default=True,
        help="A network of `jaxlens models`, or a .safetensors file that `modelzoo.save` wrote.",
    )
    @weights_option
    @render_options
    @seed_option
    @out_option
    @functools.wraps(command)
    def run(model: str, weights: str, out: Path, **options: Any) -> None:
        if "fps" in options:  # before anything long runs
            animation_format(out, options["fps"])
        else:
            picture_format(out, 4 if command.__name__ == "maco" else 3)
        check_writable(out.parent)
        given = [each for value in options.values() for each in (value if isinstance(value, tuple) else (value,))]
        refuse_inputs(out, [*(each for each in given if isinstance(each, Path)), model, weights])
        network = open_network(model, weights)
        if warning := warn_random(weights):
            say(warning, err=True)
        command(network=network, out=out, **options)

    return run


def layer_option(several: bool = False) -> Callable[..., Any]:
    """`--layer`, by default one in the middle of the network."""
    more = "; may be given several times" * several
    return click.option(
        "--layer",
        "layers",
        multiple=True,
        help=f"Of `jaxlens layers`{more}.  [default: one in the middle, {_MIDDLE} of {DEFAULT_MODEL}]",
    )


def size_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--size`, of pictures that are read."""
    default = f"[default: {SIZE}, or an imported network's own size]"
    return click.option("--size", type=SIDE, help=f"Longest side that pictures are brought to.  {default}")(command)


def new_size_option(default: int) -> Callable[..., Any]:
    """`--size`, of pictures that are made."""
    said = f"Side of the pictures.  [default: {default}, or an imported network's own size]"
    return click.option("--size", type=SIDE, help=said)


def steps_option(default: int, said: str = "Optimization steps.") -> Callable[..., Any]:
    """`--steps`."""
    return click.option("--steps", type=STEPS, default=default, show_default=True, help=said)


def middle(network: Any, layers: Sequence[str]) -> tuple[str, ...]:
    """The layers named, or one from the middle of the network, which is told."""
    if layers:
        return tuple(layers)
    spread = spread_layers(network)
    return told("--layer", spread[min(2, len(spread) - 1) :][:1])


def spread_layers(network: Any) -> list[str]:
    """Layers from early to late."""
    return [name.rpartition(":")[0] for name in default_neurons(network)]


def told(option: str, layers: Sequence[str]) -> tuple[str, ...]:
    """Layers that were chosen for want of an option, after saying so."""
    say(f"{option} {', '.join(layers)}: chosen, as none is named.", err=True)
    return tuple(layers)


def opened(path: Path, size: int | None, network: Any) -> np.ndarray:
    """A picture at the size asked for, or that suits the network."""
    return read(path, size, network, own_size(network))


def write(out: Path, results: Sequence[Any], names: Sequence[str] | None = None) -> None:
    """One picture as it is, several as a contact sheet with their names; each result holds some of them."""
    shown = [picture(images, 3) for result in results for images in result.images]
    finished = all(result.finished for result in results)
    if len(shown) == 1:
        pixels = to_uint8(shown[0])
        drawn = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    else:
        names = list(names or [name for result in results for name in result.names])
        columns = max(1, round(len(shown) ** 0.5))
        tiles = [to_tiles(each[None])[0] for each in shown]
        rows = range(0, len(tiles), columns)
        drawn = grid([tiles[i : i + columns] for i in rows], [names[i : i + columns] for i in rows], [], "")
    if not save_picture(out, drawn, finished):
        raise interrupted(f"{out} stays as it was.")
    say(f"{len(shown)} pictures in {seconds():.1f} s -> {out}")
    if not finished:
        raise interrupted(f"{out} shows what there was.")


def for_each_shape(paths: Sequence[Path], size: int | None, network: Any, recipe: Callable[..., Any]) -> list[Any]:
    """A recipe of several pictures: those of one shape in one program, and the results in the order of the pictures."""
    shown = [opened(path, size, network) for path in paths]
    found: dict[int, Any] = {}
    for places in by_shape(shown):
        result = recipe(np.stack([shown[place] for place in places]))
        for row, place in enumerate(places):
            found[place] = Row(result.images[row : row + 1], (result.names[row],), result.finished)
        if not result.finished:
            break
    return [found[place] for place in sorted(found)]


class Row:
    """One picture of a result."""

    def __init__(self, images: np.ndarray, names: tuple[str, ...], finished: bool):
        self.images, self.names, self.finished = images, names, finished


@click.command(cls=Command)
@click.argument("image", type=PICTURE)
@layer_option(several=True)
@click.option(
    "--octaves", type=Whole(1, 32), default=4, show_default=True, help="How many sizes, each 1.4 times the one before."
)
@steps_option(10, "Steps of gradient ascent at each size.")
@click.option(
    "--rate",
    type=Number(min=0, min_open=True, max=1e3),
    default=0.01,
    show_default=True,
    help="How much a pixel changes in a step, on average.",
)
@click.option("--guide", type=PICTURE, help="A picture whose features are to be taken up.")
@click.option("--tile", type=SIDE, help="For large pictures: side of the part that the network sees at a time.")
@size_option
@network_options
def dream(image: Path, layers: Any, guide: Path | None, size: int | None, network: Any, out: Path, **options: Any) -> None:
    """A deep dream of IMAGE: more of everything that layers see in it.

    \b
    Example: jaxlens dream photo.jpg --layer mixed4b --out dream.png
    """
    theirs = None if guide is None else opened(guide, size, network)
    drawn = recipes.deepdream(network, opened(image, size, network), middle(network, layers), guide=theirs, **options)
    write(out, [drawn])


@click.command(cls=Command)
@click.argument("content", type=PICTURE)
@click.argument("style", type=PICTURE)
@click.option(
    "--content-layer",
    "content_layers",
    multiple=True,
    help="Whose activations are kept; may be given several times.  "
    f"[default: one before the middle, {_CONTENT} of {DEFAULT_MODEL}]",
)
@click.option(
    "--style-layer",
    "style_layers",
    multiple=True,
    help=f"Whose Gram matrices are taken over; several times.  [default: three up to the middle, {_STYLE} of {DEFAULT_MODEL}]",
)
@click.option(
    "--style-weight", type=Number(min=0, max=1e12), default=1e3, show_default=True, help="Of the style beside the content."
)
@click.option("--preserve-color", is_flag=True, help="Keep the colours of CONTENT.")
@steps_option(256)
@size_option
@network_options
def style(
    content: Path,
    style: Path,
    content_layers: Any,
    style_layers: Any,
    size: int | None,
    network: Any,
    out: Path,
    **options: Any,
) -> None:
    """CONTENT in the manner of STYLE (Gatys et al. 2015).

    \b
    Example: jaxlens style photo.jpg painting.jpg --out styled.png
    """
    spread = spread_layers(network)
    result = recipes.style_transfer(
        network,
        opened(content, size, network),
        opened(style, size, network),
        content_layers=content_layers or told("--content-layer", spread[1:2] or spread),
        style_layers=style_layers or told("--style-layer", spread[:3]),
        **options,
    )
    write(out, [result])


@click.command(cls=Command)
@click.argument("images", type=PICTURE, nargs=-1, required=True)
@layer_option()
@steps_option(256)
@size_option
@network_options
def invert(images: tuple[Path, ...], layers: Any, size: int | None, network: Any, out: Path, **options: Any) -> None:
    """What a layer keeps of IMAGES: other pictures that it cannot tell from them. Those of one shape in one program.

    \b
    Example: jaxlens invert a.jpg b.jpg --layer mixed4a --out inverted.png
    """
    (layer,) = one(middle(network, layers))
    drawn = for_each_shape(images, size, network, lambda alike: recipes.invert(network, alike, layer, **options))
    write(out, drawn, [path.stem for path in images][: len(drawn)])


@click.command(cls=Command)
@click.argument("images", type=PICTURE, nargs=-1, required=True)
@layer_option(several=True)
@click.option(
    "--cossim-pow",
    type=Number(min=0, max=1e3),
    default=1.0,
    show_default=True,
    help="How much the direction counts beside the size.",
)
@steps_option(256)
@size_option
@network_options
def caricature(images: tuple[Path, ...], layers: Any, size: int | None, network: Any, out: Path, **options: Any) -> None:
    """IMAGES with what layers see in them exaggerated. Those of one shape in one program.

    \b
    Example: jaxlens caricature photo.jpg --layer mixed4a --out caricature.png
    """
    chosen = middle(network, layers)
    drawn = for_each_shape(images, size, network, lambda alike: recipes.caricature(network, alike, chosen, **options))
    write(out, drawn, [path.stem for path in images][: len(drawn)])


@click.command(cls=Command)
@click.argument("image", type=PICTURE)
@click.argument("neuron", metavar="LAYER:CHANNEL")
@click.option("--layer", help="Where the picture should stay what it is; in its pixels by default.")
@click.option(
    "--strength",
    type=Number(min=0, max=1e6),
    default=0.3,
    show_default=True,
    help="1 pulls back as much as the neuron pulls away.",
)
@steps_option(100)
@size_option
@network_options
def accentuate(image: Path, neuron: str, size: int | None, network: Any, out: Path, **options: Any) -> None:
    """IMAGE with more of what one neuron responds to.

    \b
    Example: jaxlens accentuate photo.jpg mixed4b:65 --layer mixed3a --out more.png
    """
    write(out, [recipes.accentuate(network, opened(image, size, network), neuron, **options)])


@click.command(cls=Command)
@click.argument("neurons", nargs=-1, required=True, metavar="LAYER:CHANNELS...")
@new_size_option(256)
@steps_option(256)
@click.option(
    "--crops", type=COUNT, default=8, show_default=True, help="Parts of the picture that the network sees in each step."
)
@network_options
def maco(neurons: tuple[str, ...], size: int | None, network: Any, out: Path, **options: Any) -> None:
    """Pictures of NEURONS with the spectrum of natural images, opaque where it mattered (PNG).

    \b
    Example: jaxlens maco logits:65 --out letter.png
    """
    options["size"] = size or own_size(network) or 256
    result = recipes.maco(network, list(neurons), importance=True, **options)
    looked_at = np.asarray(result.importance)
    shown = [maco_display(images[0], seen[0]) for images, seen in zip(result.images, looked_at, strict=True)]
    write(out, [result.map_images(lambda _: np.stack(shown)[:, None])])


@click.command(cls=Command)
@click.argument("neurons", nargs=-1, required=True, metavar="LAYER:CHANNELS...")
@new_size_option(128)
@steps_option(256)
@network_options
def tile(neurons: tuple[str, ...], size: int | None, network: Any, out: Path, **options: Any) -> None:
    """Patterns of NEURONS that tile the plane without seams.

    \b
    Example: jaxlens tile mixed4b:65 --out tile.png
    """
    write(out, [recipes.tileable(network, list(neurons), size=size or own_size(network) or 128, **options)])


@click.command(cls=Command)
@click.argument("image", type=PICTURE)
@layer_option(several=True)
@click.option("--frames", type=COUNT, default=60, show_default=True, help="How many follow the first.")
@click.option(
    "--factor",
    type=Number(min=1, min_open=True, max=2, max_open=True),
    default=1.03,
    show_default=True,
    help="How much closer each frame is.",
)
@steps_option(4, "Steps of gradient ascent for each frame and size.")
@click.option("--fps", type=Number(min=0, min_open=True, max=1e3), default=20.0, show_default=True, help="Frames per second.")
@size_option
@network_options
def zoom(image: Path, layers: Any, size: int | None, fps: float, network: Any, out: Path, **options: Any) -> None:
    """An endless zoom into a dream of IMAGE, as .gif, .webp, .png or .mp4.

    \b
    Example: jaxlens zoom photo.jpg --layer mixed4b --out zoom.gif
    """
    wanted = options["frames"] + 1
    frames = recipes.zoom(network, opened(image, size, network), middle(network, layers), **options)
    if len(frames) < wanted and out.exists():
        raise interrupted(f"{out} stays as it was.")
    save_animation(out, frames, fps=fps)
    say(f"{len(frames)} frames in {seconds():.1f} s -> {out}")
    if len(frames) < wanted:
        raise interrupted(f"{out} holds the frames that there were.")


def one(layers: tuple[str, ...]) -> tuple[str, ...]:
    """A single layer, or an error."""
    if len(layers) != 1:
        raise click.UsageError(f"--layer is given {len(layers)} times, but inverting takes one.")
    return layers


COMMANDS = (dream, style, invert, caricature, accentuate, maco, tile, zoom)
