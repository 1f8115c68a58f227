"""`jaxlens dream`, `style`, `invert`, `caricature`, `accentuate`, `maco`, `tile` and `zoom`: recipes on picture files."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from jaxlens import modelzoo, recipes
from jaxlens.cli._render import DEFAULT_MODEL, check_writable, default_neurons
from jaxlens.data import load_image, save_animation, save_image
from jaxlens.data._animation import animation_format
from jaxlens.data._image import picture_format
from jaxlens.plot import contact_sheet, maco_display

PICTURE = click.Path(path_type=Path, exists=True, dir_okay=False)
SIZE = 320  # longest side of pictures unless told


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every recipe has; the command gets the loaded network as `network`."""

    @click.option("--model", default=DEFAULT_MODEL, show_default=True, help="A network of `jaxlens models`.")
    @click.option(
        "--weights", default="DEFAULT", show_default=True, metavar="W", help="As in `jaxlens render`: a name, a file, or none."
    )
    @click.option("--seed", default=0, show_default=True, help="The same seed gives the same pictures.")
    @click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
    @functools.wraps(command)
    def run(model: str, weights: str, out: Path, **options: Any) -> None:
        if "fps" in options:  # before anything long runs
            animation_format(out, options["fps"])
        else:
            picture_format(out, 4 if command.__name__ == "maco" else 3)
        check_writable(out.parent)
        network = modelzoo.load(model, weights=None if weights.lower() == "none" else weights)
        command(network=network, out=out, **options)

    return run


def layer_option(several: bool = False) -> Callable[..., Any]:
    """`--layer`, by default one in the middle of the network."""
    return click.option(
        "--layer", "layers", multiple=True, help=f"Of `jaxlens layers`{'; may be given several times' * several}."
    )


def size_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--size`, of pictures that are read."""
    return click.option("--size", default=SIZE, show_default=True, help="Longest side that pictures are brought to.")(command)


def middle(network: Any, layers: Sequence[str]) -> tuple[str, ...]:
    """The layers named, or one from the middle of the network."""
    return tuple(layers) or (default_neurons(network)[2].partition(":")[0],)


def read(path: Path, size: int) -> np.ndarray:
    """A picture whose longest side is `size`, its shape kept."""
    with Image.open(path) as file:
        width, height = file.size
        if file.getexif().get(0x0112, 1) >= 5:  # turned by a quarter
            width, height = height, width
    scale = size / max(width, height)
    return load_image(path, (max(1, round(height * scale)), max(1, round(width * scale))))


def read_alike(paths: Sequence[Path], size: int) -> np.ndarray:
    """Pictures of one size, that of the first."""
    first = read(paths[0], size)
    return np.stack([first, *(load_image(path, first.shape[:2]) for path in paths[1:])])


def write(out: Path, result: Any, names: Sequence[str] | None = None) -> None:
    """One picture as it is, several as a contact sheet with their names."""
    if len(result.images) == 1:
        save_image(out, result.images[0, 0])
    else:
        contact_sheet(result.images, list(names or result.names)).save(out)
    click.echo(f"{len(result.images)} pictures in {result.seconds:.1f} s -> {out}")
    if not result.finished:
        raise click.ClickException("interrupted; the file shows what there was.")


@click.command()
@click.argument("image", type=PICTURE)
@layer_option(several=True)
@click.option("--octaves", default=4, show_default=True, help="How many sizes, each 1.4 times the one before.")
@click.option("--steps", default=10, show_default=True, help="Steps of gradient ascent at each size.")
@click.option("--rate", default=0.01, show_default=True, help="How much a pixel changes in a step, on average.")
@click.option("--guide", type=PICTURE, help="A picture whose features are to be taken up.")
@click.option("--tile", type=int, help="For large pictures: side of the part that the network sees at a time.")
@size_option
@network_options
def dream(image: Path, layers: Any, guide: Path | None, size: int, network: Any, out: Path, **options: Any) -> None:
    """A deep dream of IMAGE: more of everything that layers see in it.

    \b
    Example: jaxlens dream photo.jpg --layer mixed4b --out dream.png
    """
    theirs = None if guide is None else read(guide, size)
    write(out, recipes.deepdream(network, read(image, size), middle(network, layers), guide=theirs, **options))


@click.command()
@click.argument("content", type=PICTURE)
@click.argument("style", type=PICTURE)
@click.option(
    "--content-layer", "content_layers", multiple=True, help="Whose activations are kept; may be given several times."
)
@click.option("--style-layer", "style_layers", multiple=True, help="Whose Gram matrices are taken over; several times.")
@click.option("--style-weight", default=1e3, show_default=True, help="Of the style beside the content.")
@click.option("--preserve-color", is_flag=True, help="Keep the colours of CONTENT.")
@click.option("--steps", default=256, show_default=True, help="Optimization steps.")
@size_option
@network_options
def style(
    content: Path, style: Path, content_layers: Any, style_layers: Any, size: int, network: Any, out: Path, **options: Any
) -> None:
    """CONTENT in the manner of STYLE (Gatys et al. 2015).

    \b
    Example: jaxlens style photo.jpg painting.jpg --out styled.png
    """
    spread = [name.partition(":")[0] for name in default_neurons(network)]
    result = recipes.style_transfer(
        network,
        read(content, size),
        read(style, size),
        content_layers=content_layers or spread[1:2],
        style_layers=style_layers or spread[:3],
        **options,
    )
    write(out, result)


@click.command()
@click.argument("images", type=PICTURE, nargs=-1, required=True)
@layer_option()
@click.option("--steps", default=256, show_default=True, help="Optimization steps.")
@size_option
@network_options
def invert(images: tuple[Path, ...], layers: Any, size: int, network: Any, out: Path, **options: Any) -> None:
    """What a layer keeps of IMAGES: other pictures that it cannot tell from them. All in one program.

    \b
    Example: jaxlens invert a.jpg b.jpg --layer mixed4a --out inverted.png
    """
    (layer,) = one(middle(network, layers))
    write(out, recipes.invert(network, read_alike(images, size), layer, **options), [path.stem for path in images])


@click.command()
@click.argument("images", type=PICTURE, nargs=-1, required=True)
@layer_option(several=True)
@click.option("--cossim-pow", default=1.0, show_default=True, help="How much the direction counts beside the size.")
@click.option("--steps", default=256, show_default=True, help="Optimization steps.")
@size_option
@network_options
def caricature(images: tuple[Path, ...], layers: Any, size: int, network: Any, out: Path, **options: Any) -> None:
    """IMAGES with what layers see in them exaggerated. All in one program.

    \b
    Example: jaxlens caricature photo.jpg --layer mixed4a --out caricature.png
    """
    drawn = recipes.caricature(network, read_alike(images, size), middle(network, layers), **options)
    write(out, drawn, [path.stem for path in images])


@click.command()
@click.argument("image", type=PICTURE)
@click.argument("neuron", metavar="LAYER:CHANNEL")
@click.option("--layer", help="Where the picture should stay what it is; in its pixels by default.")
@click.option("--strength", default=0.3, show_default=True, help="1 pulls back as much as the neuron pulls away.")
@click.option("--steps", default=100, show_default=True, help="Optimization steps.")
@size_option
@network_options
def accentuate(image: Path, neuron: str, size: int, network: Any, out: Path, **options: Any) -> None:
    """IMAGE with more of what one neuron responds to.

    \b
    Example: jaxlens accentuate photo.jpg mixed4b:65 --layer mixed3a --out more.png
    """
    write(out, recipes.accentuate(network, read(image, size), neuron, **options))


@click.command()
@click.argument("neurons", nargs=-1, required=True, metavar="LAYER:CHANNELS...")
@click.option("--size", default=256, show_default=True, help="Side of the pictures.")
@click.option("--steps", default=256, show_default=True, help="Optimization steps.")
@click.option("--crops", default=8, show_default=True, help="Parts of the picture that the network sees in each step.")
@network_options
def maco(neurons: tuple[str, ...], network: Any, out: Path, **options: Any) -> None:
    """Pictures of NEURONS with the spectrum of natural images, opaque where it mattered (PNG).

    \b
    Example: jaxlens maco logits:65 --out letter.png
    """
    result = recipes.maco(network, list(neurons), transparency=True, **options)
    looked_at = np.asarray(result.transparency)
    shown = [maco_display(images[0], seen[0]) for images, seen in zip(result.images, looked_at, strict=True)]
    write(out, result.map_images(lambda _: np.stack(shown)[:, None]))


@click.command()
@click.argument("neurons", nargs=-1, required=True, metavar="LAYER:CHANNELS...")
@click.option("--size", default=128, show_default=True, help="Side of the tile.")
@click.option("--steps", default=256, show_default=True, help="Optimization steps.")
@network_options
def tile(neurons: tuple[str, ...], network: Any, out: Path, **options: Any) -> None:
    """Patterns of NEURONS that tile the plane without seams.

    \b
    Example: jaxlens tile mixed4b:65 --out tile.png
    """
    write(out, recipes.tileable(network, list(neurons), **options))


@click.command()
@click.argument("image", type=PICTURE)
@layer_option(several=True)
@click.option("--frames", default=60, show_default=True, help="How many follow the first.")
@click.option("--factor", default=1.03, show_default=True, help="How much closer each frame is.")
@click.option("--steps", default=4, show_default=True, help="Steps of gradient ascent for each frame and size.")
@click.option("--fps", default=20.0, show_default=True, help="Frames per second.")
@size_option
@network_options
def zoom(image: Path, layers: Any, size: int, fps: float, network: Any, out: Path, **options: Any) -> None:
    """An endless zoom into a dream of IMAGE, as .gif, .webp, .png or .mp4.

    \b
    Example: jaxlens zoom photo.jpg --layer mixed4b --out zoom.gif
    """
    frames = recipes.zoom(network, read(image, size), middle(network, layers), **options)
    save_animation(out, frames, fps=fps)
    click.echo(f"{len(frames)} frames -> {out}")


def one(layers: tuple[str, ...]) -> tuple[str, ...]:
    """A single layer, or an error."""
    if len(layers) != 1:
        raise click.UsageError(f"--layer is given {len(layers)} times, but inverting takes one.")
    return layers


COMMANDS = (dream, style, invert, caricature, accentuate, maco, tile, zoom)
