"""Recipes: `jaxlens dream | style | invert | caricature | accentuate | maco | tile | zoom`."""

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
    DEFAULT_MODEL,
    PICTURE,
    SIDE,
    Number,
    Source,
    Whole,
    check_writable,
    layer_option,
    network_command,
    network_options,
    out_option,
    own_size,
    refuse_inputs,
    render_options,
    seed_option,
    size_option,
    steps_option,
)
from jaxlens.cli._output import interrupted, say, seconds
from jaxlens.cli._pictures import SIZE, by_shape, read, save_picture
from jaxlens.cli._render import default_layers
from jaxlens.data import save_animation, to_uint8
from jaxlens.data._animation import animation_format
from jaxlens.data._image import picture_format
from jaxlens.microscope._tile import picture
from jaxlens.plot import maco_display
from jaxlens.plot._grid import grid, to_tiles

# Layers of lensnet that are chosen where none is named, for the help.
_MIDDLE, _CONTENT, _STYLE = "mixed4b_5x5", "mixed3b_5x5", "conv2d2, mixed3b_5x5, mixed4b_5x5"
_CHOSEN = f"[default: one from the middle of the network, {_MIDDLE} of {DEFAULT_MODEL}]"
_SEVERAL = f"A layer of `jaxlens layers`. May be given several times.  {_CHOSEN}"
_ONE = f"A layer of `jaxlens layers`.  {_CHOSEN}"
_OWN = "or the size of an imported network]"
_READ_SIZE = f"Longest side of the pictures in pixels; they are scaled to it.  [default: {SIZE}, {_OWN}"
_MADE_SIZE = "Side of the pictures in pixels.  [default: {}, " + _OWN


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every recipe. The command gets the loaded network as `network`."""

    @render_options
    @seed_option
    @out_option
    @network_options
    @functools.wraps(command)
    def run(source: Source, out: Path, **options: Any) -> None:
        if "fps" in options:  # before anything long runs
            animation_format(out, options["fps"])
        else:
            picture_format(out, 4 if command.__name__ == "maco" else 3)
        check_writable(out.parent)
        given = [each for value in options.values() for each in (value if isinstance(value, tuple) else (value,))]
        refuse_inputs(out, [*(each for each in given if isinstance(each, Path)), source.model, source.weights])
        command(network=source.load(), out=out, **options)

    return run


def middle(network: Any, layers: Sequence[str]) -> tuple[str, ...]:
    """Return the layers that are named, or choose one from the middle and print its name."""
    if layers:
        return tuple(layers)
    spread = default_layers(network)
    return told("--layer", spread[min(2, len(spread) - 1) :][:1])


def told(option: str, layers: Sequence[str]) -> tuple[str, ...]:
    """Return layers that the command chose itself, and print their names."""
    say(f"{option} {', '.join(layers)}: chosen, as none is named.", err=True)
    return tuple(layers)


def opened(path: Path, size: int | None, network: Any) -> np.ndarray:
    """Return a picture at the size asked for, or at a size that suits the network."""
    return read(path, size, network, own_size(network))


def write(out: Path, results: Sequence[Any], names: Sequence[str] | None = None) -> None:
    """Write the pictures of results: one as it is, several as a contact sheet with names."""
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
    """Apply a recipe to pictures, one program for each shape.

    Returns:
        The results in the order of the pictures.
    """
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


@network_command()
@click.argument("image", type=PICTURE)
@layer_option(_SEVERAL)
@click.option(
    "--octaves", type=Whole(1, 32), default=4, show_default=True, help="Number of sizes. Each is 1.4 times the one before."
)
@steps_option(10, "Number of steps of gradient ascent at each size.")
@click.option(
    "--rate",
    type=Number(min=0, min_open=True, max=1e3),
    default=0.01,
    show_default=True,
    help="Mean change of a pixel in one step.",
)
@click.option("--guide", type=PICTURE, help="A picture whose features the dream takes up.")
@click.option("--tile", type=SIDE, help="For large pictures: side in pixels of the part that the network sees at a time.")
@size_option(_READ_SIZE)
@recipe_options
def dream(image: Path, layers: Any, guide: Path | None, size: int | None, network: Any, out: Path, **options: Any) -> None:
    """Draw a deep dream of IMAGE: more of everything that layers see in it.

    \b
    Example: jaxlens dream lensnet photo.jpg --layer mixed4b --out dream.png
    """
    theirs = None if guide is None else opened(guide, size, network)
    drawn = recipes.deepdream(network, opened(image, size, network), middle(network, layers), guide=theirs, **options)
    write(out, [drawn])


@network_command()
@click.argument("content", type=PICTURE)
@click.argument("style", type=PICTURE)
@click.option(
    "--content-layer",
    "content_layers",
    multiple=True,
    help="A layer whose activations on CONTENT are kept. May be given several times.  "
    f"[default: one before the middle of the network, {_CONTENT} of {DEFAULT_MODEL}]",
)
@click.option(
    "--style-layer",
    "style_layers",
    multiple=True,
    help="A layer whose Gram matrices on STYLE are taken over. May be given several times.  "
    f"[default: three up to the middle of the network, {_STYLE} of {DEFAULT_MODEL}]",
)
@click.option(
    "--style-weight",
    type=Number(min=0, max=1e12),
    default=1e3,
    show_default=True,
    help="Weight of the style; that of the content is 1.",
)
@click.option("--preserve-color", is_flag=True, help="Keep the colors of CONTENT.")
@steps_option(256)
@size_option(_READ_SIZE)
@recipe_options
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
    """Draw CONTENT in the manner of STYLE (Gatys et al. 2015).

    \b
    Example: jaxlens style lensnet photo.jpg painting.jpg --out styled.png
    """
    spread = default_layers(network)
    result = recipes.style_transfer(
        network,
        opened(content, size, network),
        opened(style, size, network),
        content_layers=content_layers or told("--content-layer", spread[1:2] or spread),
        style_layers=style_layers or told("--style-layer", spread[:3]),
        **options,
    )
    write(out, [result])


@network_command()
@click.argument("images", type=PICTURE, nargs=-1, required=True, metavar="IMAGE...")
@layer_option(_ONE)
@steps_option(256)
@size_option(_READ_SIZE)
@recipe_options
def invert(images: tuple[Path, ...], layers: Any, size: int | None, network: Any, out: Path, **options: Any) -> None:
    """Show what a layer keeps of each IMAGE: another picture that the layer cannot tell from it.

    Pictures of one shape go through one program.

    \b
    Example: jaxlens invert lensnet a.jpg b.jpg --layer mixed4a --out inverted.png
    """
    (layer,) = one(middle(network, layers), "inverting")
    drawn = for_each_shape(images, size, network, lambda alike: recipes.invert(network, alike, layer, **options))
    write(out, drawn, [path.stem for path in images][: len(drawn)])


@network_command()
@click.argument("images", type=PICTURE, nargs=-1, required=True, metavar="IMAGE...")
@layer_option(_SEVERAL)
@click.option(
    "--cossim-pow",
    type=Number(min=0, max=1e3),
    default=1.0,
    show_default=True,
    help="Weight of the direction of activations beside their size.",
)
@steps_option(256)
@size_option(_READ_SIZE)
@recipe_options
def caricature(images: tuple[Path, ...], layers: Any, size: int | None, network: Any, out: Path, **options: Any) -> None:
    """Exaggerate what layers see in each IMAGE.

    Pictures of one shape go through one program.

    \b
    Example: jaxlens caricature lensnet photo.jpg --layer mixed4a --out caricature.png
    """
    chosen = middle(network, layers)
    drawn = for_each_shape(images, size, network, lambda alike: recipes.caricature(network, alike, chosen, **options))
    write(out, drawn, [path.stem for path in images][: len(drawn)])


@network_command()
@click.argument("image", type=PICTURE)
@click.argument("neuron", metavar="LAYER:CHANNEL")
@layer_option("A layer whose activations should stay as they are.  [default: the pixels]")
@click.option(
    "--strength",
    type=Number(min=0, max=1e6),
    default=0.3,
    show_default=True,
    help="Pull back to IMAGE. At 1 it is as strong as the pull of the neuron.",
)
@steps_option(100)
@size_option(_READ_SIZE)
@recipe_options
def accentuate(image: Path, neuron: str, layers: Any, size: int | None, network: Any, out: Path, **options: Any) -> None:
    """Draw IMAGE with more of what one neuron responds to.

    \b
    Example: jaxlens accentuate lensnet photo.jpg mixed4b:65 --layer mixed3a --out more.png
    """
    options["layer"] = one(layers, "accentuating")[0] if layers else None
    write(out, [recipes.accentuate(network, opened(image, size, network), neuron, **options)])


@network_command()
@click.argument("neurons", nargs=-1, required=True, metavar="LAYER:CHANNELS...")
@size_option(_MADE_SIZE.format(256))
@steps_option(256)
@click.option(
    "--crops",
    type=COUNT,
    default=8,
    show_default=True,
    help="Number of parts of the picture that the network sees in each step.",
)
@recipe_options
def maco(neurons: tuple[str, ...], size: int | None, network: Any, out: Path, **options: Any) -> None:
    """Draw neurons with the spectrum of natural images, opaque where the picture mattered (PNG).

    \b
    Example: jaxlens maco lensnet logits:65 --out letter.png
    """
    options["size"] = size or own_size(network) or 256
    result = recipes.maco(network, list(neurons), importance=True, **options)
    looked_at = np.asarray(result.importance)
    shown = [maco_display(images[0], seen[0]) for images, seen in zip(result.images, looked_at, strict=True)]
    write(out, [result.map_images(lambda _: np.stack(shown)[:, None])])


@network_command()
@click.argument("neurons", nargs=-1, required=True, metavar="LAYER:CHANNELS...")
@size_option(_MADE_SIZE.format(128))
@steps_option(256)
@recipe_options
def tile(neurons: tuple[str, ...], size: int | None, network: Any, out: Path, **options: Any) -> None:
    """Draw patterns of neurons that tile the plane without seams.

    \b
    Example: jaxlens tile lensnet mixed4b:65 --out tile.png
    """
    write(out, [recipes.tileable(network, list(neurons), size=size or own_size(network) or 128, **options)])


@network_command()
@click.argument("image", type=PICTURE)
@layer_option(_SEVERAL)
@click.option("--frames", type=COUNT, default=60, show_default=True, help="Number of frames after the first.")
@click.option(
    "--factor",
    type=Number(min=1, min_open=True, max=2, max_open=True),
    default=1.03,
    show_default=True,
    help="Magnification from one frame to the next.",
)
@steps_option(4, "Number of steps of gradient ascent for each frame and size.")
@click.option("--fps", type=Number(min=0, min_open=True, max=1e3), default=20.0, show_default=True, help="Frames per second.")
@size_option(_READ_SIZE)
@recipe_options
def zoom(image: Path, layers: Any, size: int | None, fps: float, network: Any, out: Path, **options: Any) -> None:
    """Draw an endless zoom into a dream of IMAGE, as .gif, .webp, .png or .mp4.

    \b
    Example: jaxlens zoom lensnet photo.jpg --layer mixed4b --out zoom.gif
    """
    wanted = options["frames"] + 1
    frames = recipes.zoom(network, opened(image, size, network), middle(network, layers), **options)
    if len(frames) < wanted and out.exists():
        raise interrupted(f"{out} stays as it was.")
    save_animation(out, frames, fps=fps)
    say(f"{len(frames)} frames in {seconds():.1f} s -> {out}")
    if len(frames) < wanted:
        raise interrupted(f"{out} holds the frames that there were.")


def one(layers: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return a single layer, or raise an error."""
    if len(layers) != 1:
        raise click.UsageError(f"--layer is given {len(layers)} times, but {what} takes one.")
    return layers


COMMANDS = (dream, style, invert, caricature, accentuate, maco, tile, zoom)
