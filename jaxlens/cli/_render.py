"""`jaxlens render`: a PNG for each neuron, and a contact sheet with labels."""

from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from jaxlens import microscope, modelzoo
from jaxlens._checks import one_line
from jaxlens._jobs import _manifest as manifest
from jaxlens.cli._options import (
    DEFAULT_MODEL,
    Out,
    Source,
    check_writable,
    layer_option,
    network_command,
    network_options,
    own_size,
    render_options,
    seed_option,
    size_option,
    steps_option,
)
from jaxlens.cli._output import interrupted, say, seconds
from jaxlens.cli._pictures import Sheet, finished_tile, read_sheet, write_sheet
from jaxlens.microscope import Tile
from jaxlens.microscope._settings import settings_of
from jaxlens.microscope._tile import picture, tile_path, write_tile
from jaxlens.optvis.render import RenderResult
from jaxlens.optvis.render import render as render_objectives
from jaxlens.optvis.render._task import class_layers

LAYERS, CHANNELS = 4, 4  # rendered when no layer is named
SIZE = 128
SHEET = "contact-sheet.png"


@network_command(DEFAULT_MODEL)
@click.argument("neurons", nargs=-1, metavar="[LAYER:CHANNELS]...")
@layer_option(
    "Render a whole layer, as a job that can be interrupted and resumed. May be given several times. Patterns such as "
    "'mixed4*' work."
)
@click.option(
    "--all-channels", is_flag=True, help="Render every channel of each --layer, or of the whole network without --layer."
)
@size_option(f"Side of the pictures in pixels.  [default: {SIZE}, or the size of an imported network]")
@steps_option(512)
@render_options
@click.option(
    "--distributed",
    is_flag=True,
    help="Share a job: this is one of several processes, and each renders its slice. Calls jax.distributed.initialize().",
)
@seed_option
@click.option(
    "--out",
    default="jaxlens-out",
    show_default=True,
    type=Out(folder=True),
    help="Folder for the pictures. It is made if it does not exist.",
)
@network_options
def render(
    source: Source,
    neurons: tuple[str, ...],
    layers: tuple[str, ...],
    all_channels: bool,
    size: int | None,
    steps: int,
    batch_size: int | None,
    memory_limit: int | None,
    compute_dtype: str | None,
    distributed: bool,
    seed: int,
    out: Path,
) -> None:
    """Render what neurons of MODEL respond to.

    LAYER:CHANNELS names neurons. features.9:3 is one neuron, features.9:0-15 are sixteen (both ends
    included), features.9:3,7,12 are three, features.9:all is the whole layer, and logits:tabby is a
    class. Give as many as you like. Without any, the command shows four neurons of each of four
    layers, from early to late. Without MODEL, it shows lensnet, which comes with jaxlens. MODEL may
    be a .safetensors file that `modelzoo.save` wrote.

    The command writes OUT/LAYER-CHANNEL.png for each neuron, and all neurons with their names into
    OUT/contact-sheet.png. It prints the score of each neuron: its mean activation over the last
    steps, on the images that the network saw, which random transforms had moved. The sheet also
    shows the pictures that OUT holds already, if they have the same settings. An unfinished picture
    or sheet never replaces a finished one, and a sheet never replaces one that shows more.

    With --layer or --all-channels the command is a job. It writes OUT/LAYER/CHANNEL.png as soon as
    a neuron is finished, and OUT/LAYER.png with all neurons of a layer. After any interruption the
    same command goes on. It may run several times at once, also on several machines that share OUT.
    Without --all-channels it renders the first 4 channels of each layer.

    \b
    Examples:
      jaxlens render
      jaxlens render squeezenet1_1 features.2:0-7 features.9:0-7
      jaxlens render resnet50 layer3.2:12,40 --size 224 --steps 1024 --out cats
      jaxlens render squeezenet1_1 --weights squeezenet1_1.pth --steps 256
      jaxlens render inceptionv1 --layer 'mixed4*' --all-channels --out inception
    """
    if neurons and (layers or all_channels):
        raise click.UsageError("Name neurons as LAYER:CHANNELS, or whole layers with --layer, not both.")
    if distributed and not (layers or all_channels):
        raise click.UsageError("--distributed shares a job among processes: name whole layers with --layer or --all-channels.")
    if distributed:
        jax.distributed.initialize()  # finds the other processes on Slurm, Open MPI, Kubernetes and TPU pods
    check_writable(out)
    network = source.load()
    sides = (size, size) if size else own_size(network) or (SIZE, SIZE)
    shown_size: Any = sides[0] if sides[0] == sides[1] else sides
    limits: dict[str, Any] = {
        "batch_size": batch_size,
        "memory_limit": memory_limit,
        "compute_dtype": compute_dtype,
    }
    settings: dict[str, Any] = {"size": shown_size, "steps": steps, "seed": seed}
    if layers or all_channels:
        job(network, list(layers) or None, None if all_channels else range(CHANNELS), out, **settings, **limits)
        return
    wanted: Any = list(neurons) or _known(network) or default_neurons(network)
    result = render_objectives(network, wanted, **settings, **limits)
    labels = [task.label or "" for task in result.tasks]
    settings |= {"compute_dtype": compute_dtype}
    title = f"{network.name}, {' x '.join(map(str, dict.fromkeys(sides)))} px, {steps} steps, seed {seed}"
    sheet = write(network, result, labels, out, settings, title)
    for name, label, score in zip(result.names, labels, result.final_scores(), strict=True):
        say(f"{one_line(name)}{f' {one_line(label)}' if label else ''}\t{score:.3f}")
    say(f"{len(result.names)} neurons in {seconds():.1f} s -> {sheet}")
    if not result.finished:
        raise interrupted("Neurons without a finished picture are shown as they were; finished pictures stay.")


def job(network: Any, layers: list[str] | None, channels: range | None, out: Path, **settings: Any) -> None:
    """Render whole layers, and a contact sheet of each layer that is finished."""
    done = microscope.render_layers(network, layers, out, channels=channels, **settings)
    whole = manifest.read(out)
    for layer in done.layers:
        tiles = {tile.channel: tile for tile in done.tiles(layer)}
        if whole is None or len(tiles) < len(done.layers[layer]):
            continue
        for channel in whole.groups.get(layer, []):  # of other calls too, so that a sheet never shows less than before
            tile = finished_tile(tile_path(out, layer, channel)) if channel not in tiles else None
            if tile is not None and tile.settings == whole.hash:
                tiles[channel] = tile
        shown = [tiles[channel] for channel in sorted(tiles)]
        names = [label_of(layer, tile.channel, network.labels) or str(tile.channel) for tile in shown]
        about = Sheet(whole.hash, tuple(f"{layer}:{tile.channel}" for tile in shown), True)
        path = out / f"{microscope.folder_name(layer)}.png"
        write_sheet(path, _pixels(shown), names, about, f"{network.name} {layer}")
    total = sum(map(len, done.layers.values()))
    say(f"{done.rendered} of {total} neurons rendered now, in {seconds():.1f} s -> {out}")
    if not done.finished:
        raise interrupted("The same command goes on.")


def _known(network: Any) -> list[str]:
    """Return neurons of a network of the zoo that are worth seeing first."""
    known = network.name in modelzoo.names() and own_size(network) is None
    return list(modelzoo.info(network.name).show) if known else []


def default_layers(network: Any) -> list[str]:
    """Return layers spread over the depth, from early to late, or the logits if there are none."""
    blocks = [name for name in microscope.blocks(network) if network.layers[name].channels >= CHANNELS]
    if not blocks:
        return ["logits"]
    chosen = sorted({round(place) for place in np.linspace(0.05, 0.95, LAYERS) * (len(blocks) - 1)})
    return [blocks[i] for i in chosen]


def default_neurons(network: Any) -> list[str]:
    """Return the first channels of `default_layers`."""
    return [f"{layer}:0-{min(CHANNELS, network.layers[layer].channels) - 1}" for layer in default_layers(network)]


def label_of(layer: str, channel: int, labels: tuple[str, ...] | None, layers: tuple[str, ...] = ("logits",)) -> str:
    """Return the label of a channel, such as `letter-A`; "" if `layer` is not in `layers`."""
    return labels[channel] if labels and layer in layers else ""


def _neuron(name: str) -> tuple[str, int]:
    """Return the layer and the channel of one of `RenderResult.names`."""
    layer, _, number = name.rpartition(":")
    return layer, int(number)


def write(network: Any, result: RenderResult, labels: list[str], out: Path, settings: dict[str, Any], title: str) -> Path:
    """Write one PNG for each neuron, and the contact sheet.

    On the sheet, classes have their labels and other neurons their names.
    """
    known = manifest.hash_of(settings_of(network, **settings))
    tiles: dict[str, Tile] = {}
    for task, images, score, failed in zip(result.tasks, result.images, result.final_scores(), result.failed_at, strict=True):
        assert task.layer is not None and task.channel is not None  # LAYER:CHANNELS names nothing else
        path, pixels = picture_path(out, task.name), picture(images, network.channels)
        tile = Tile(task.layer, task.channel, float(score), settings["seed"], known, int(failed), result.finished, pixels)
        if tile.finished or finished_tile(path) is None:
            write_tile(path, tile)
        tiles[task.name] = tile
    names = {name: label or name for name, label in zip(result.names, labels, strict=True)}
    before = read_sheet(out / SHEET)
    if before is not None and before.settings == known and before.finished and result.finished:
        classes = class_layers(network)
        theirs = {name: finished_tile(picture_path(out, name)) for name in before.names}
        if all(tile is not None and tile.settings == known for tile in theirs.values()):
            names = {name: label_of(*_neuron(name), network.labels, classes) or name for name in theirs} | names
            tiles = {name: tile for name, tile in theirs.items() if tile is not None} | tiles
    shown = [tiles[name] for name in names]
    return write_sheet(out / SHEET, _pixels(shown), list(names.values()), Sheet(known, tuple(names), result.finished), title)


def picture_path(out: Path, name: str) -> Path:
    """Return the path of a neuron's picture, `OUT/LAYER-CHANNEL.png`."""
    layer, channel = _neuron(name)
    return out / f"{microscope.folder_name(layer)}-{channel}.png"


def _pixels(tiles: list[Tile]) -> np.ndarray:
    return np.stack([_float(tile) for tile in tiles])


def _float(tile: Tile) -> np.ndarray:
    assert tile.image is not None
    return (tile.image if tile.image.dtype == np.uint8 else np.rint(np.clip(tile.image, 0, 1) * 255)).astype(np.float32) / 255
