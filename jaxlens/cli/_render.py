"""`jaxlens render`: a PNG per neuron and a labelled contact sheet."""

import re
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from jaxlens import microscope, modelzoo
from jaxlens._checks import brief
from jaxlens._jobs import _manifest as manifest
from jaxlens.cli._options import (
    SIDE,
    STEPS,
    Out,
    check_writable,
    open_network,
    own_size,
    render_options,
    seed_option,
    warn_random,
    weights_option,
)
from jaxlens.cli._output import Command, interrupted, say, seconds
from jaxlens.cli._pictures import Sheet, finished_tile, read_sheet, write_sheet
from jaxlens.microscope import Tile
from jaxlens.microscope._settings import settings_of
from jaxlens.microscope._tile import picture, tile_path, write_tile
from jaxlens.optvis.render import RenderResult
from jaxlens.optvis.render import render as render_objectives

DEFAULT_MODEL = "lensnet"
LAYERS, CHANNELS = 4, 4  # rendered when no layer is named
SIZE = 128
SHEET = "contact-sheet.png"

# Layers after which an output still is the same class: they work on each channel alone.
_PER_CHANNEL = re.compile(
    "((ReLU|Dropout|(Adaptive)?(Avg|Max)Pool)([123]d)?|Flatten|(Log)?Softmax|Sigmoid|Identity|Sequential|Output)"
)


@click.command(cls=Command)
@click.argument("model", default=DEFAULT_MODEL)
@click.argument("neurons", nargs=-1, metavar="[LAYER:CHANNELS]...")
@weights_option
@click.option(
    "--layers",
    multiple=True,
    metavar="L[,L...]",
    help="Render whole layers, as a job that can be interrupted and resumed. Patterns such as 'mixed4*' work.",
)
@click.option("--all-channels", is_flag=True, help="Every channel of --layers, or without these of the whole network.")
@click.option("--size", type=SIDE, help=f"Side of the images in pixels.  [default: {SIZE}, or an imported network's own size]")
@click.option("--steps", type=STEPS, default=512, show_default=True, help="Optimization steps.")
@render_options
@click.option(
    "--distributed", is_flag=True, help="One of several processes, each with its slice: calls jax.distributed.initialize()."
)
@seed_option
@click.option(
    "--out",
    default="jaxlens-out",
    show_default=True,
    type=Out(folder=True),
    help="Folder for the pictures; made if it is not there.",
)
def render(
    model: str,
    neurons: tuple[str, ...],
    weights: str,
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
    """Renders what neurons of MODEL respond to.

    LAYER:CHANNELS names the neurons: features.9:3 is one, features.9:0-15 sixteen (both ends included), features.9:3,7,12
    three, features.9:all the whole layer, logits:tabby a class. Several may be given. Without any, four
    neurons of each of four layers from early to late are shown; without MODEL, lensnet's, which comes with jaxlens. MODEL may
    be a .safetensors file that `modelzoo.save` wrote.

    Writes OUT/LAYER-CHANNEL.png for each neuron, and all of them with their names in OUT/contact-sheet.png. Prints the score
    of each: the mean activation over the last steps, as the network saw the images, moved about by random transforms. The
    sheet also shows what OUT holds already of the same settings; pictures and sheets that are finished are not replaced
    by unfinished ones, nor is a sheet by one that shows less.

    With --layers or --all-channels this is a job: OUT/LAYER/CHANNEL.png for each neuron, written when it is finished, and
    OUT/LAYER.png with all of a layer. The same command goes on after any interruption, and may run several
    times at once, on several machines that share OUT. Without --all-channels, the first 4 channels of each layer are rendered.

    \b
    Examples:
      jaxlens render
      jaxlens render squeezenet1_1 features.2:0-7 features.9:0-7
      jaxlens render resnet50 layer3.2:12,40 --size 224 --steps 1024 --out cats
      jaxlens render squeezenet1_1 --weights squeezenet1_1.pth --steps 256
      jaxlens render inceptionv1 --layers 'mixed4*' --all-channels --out inception
    """
    if neurons and (layers or all_channels):
        raise click.UsageError("Name neurons as LAYER:CHANNELS, or whole layers with --layers, not both.")
    if distributed and not (layers or all_channels):
        raise click.UsageError("--distributed shares a job among processes: name whole layers with --layers or --all-channels.")
    if distributed:
        jax.distributed.initialize()  # finds the others on Slurm, Open MPI, Kubernetes and TPU pods
    check_writable(out)
    network = open_network(model, weights)
    sides = (size, size) if size else own_size(network) or (SIZE, SIZE)
    shown_size: Any = sides[0] if sides[0] == sides[1] else sides
    limits: dict[str, Any] = {
        "batch_size": batch_size,
        "memory_limit": memory_limit,
        "compute_dtype": compute_dtype,
    }
    settings: dict[str, Any] = {"size": shown_size, "steps": steps, "seed": seed}
    if layers or all_channels:
        names = [name.strip() for text in layers for name in text.split(",")] or None
        job(network, names, None if all_channels else range(CHANNELS), out, **settings, **limits)
        return
    wanted: Any = list(neurons) or _known(network) or default_neurons(network)
    if warning := warn_random(weights):
        say(warning, err=True)
    result = render_objectives(network, wanted, **settings, **limits)
    labels = [label_of(name, network.labels, class_layers(network)) for name in result.names]
    settings |= {"compute_dtype": compute_dtype}
    title = f"{network.name}, {' x '.join(map(str, dict.fromkeys(sides)))} px, {steps} steps, seed {seed}"
    sheet = write(network, result, labels, out, settings, title)
    for name, label, score in zip(result.names, labels, result.final_scores(), strict=True):
        say(f"{brief(name)}{f' {brief(label)}' if label else ''}\t{score:.3f}")
    say(f"{len(result.names)} neurons in {seconds():.1f} s -> {sheet}")
    if not result.finished:
        raise interrupted("Neurons without a finished picture are shown as they were; finished pictures stay.")


def job(network: Any, layers: list[str] | None, channels: range | None, out: Path, **settings: Any) -> None:
    """Whole layers, and a contact sheet of each that is finished."""
    done = microscope.render_layers(network, layers, out, channels=channels, **settings)
    whole = manifest.read(out)
    for layer in done.layers:
        tiles = {tile.channel: tile for tile in done.tiles(layer)}
        if whole is None or len(tiles) < len(done.layers[layer]):
            continue
        for channel in whole.groups.get(layer, []):  # of other calls too: a sheet never shows less than before
            tile = finished_tile(tile_path(out, layer, channel)) if channel not in tiles else None
            if tile is not None and tile.settings == whole.hash:
                tiles[channel] = tile
        shown = [tiles[channel] for channel in sorted(tiles)]
        names = [label_of(f"{layer}:{tile.channel}", network.labels) or str(tile.channel) for tile in shown]
        about = Sheet(whole.hash, tuple(f"{layer}:{tile.channel}" for tile in shown), True)
        path = out / f"{microscope.folder_name(layer)}.png"
        write_sheet(path, _pixels(shown), names, about, f"{network.name} {layer}")
    total = sum(map(len, done.layers.values()))
    say(f"{done.rendered} of {total} neurons rendered now, in {seconds():.1f} s -> {out}")
    if not done.finished:
        raise interrupted("The same command goes on.")


def _known(network: Any) -> list[str]:
    """Neurons of a network of the zoo that are worth seeing first."""
    known = network.name in modelzoo.names() and own_size(network) is None
    return list(modelzoo.info(network.name).show) if known else []


def default_neurons(network: Any) -> list[str]:
    """The first channels of layers spread over the depth, or of the logits where there are no such layers."""
    blocks = [name for name in microscope.blocks(network) if network.layers[name].channels >= CHANNELS]
    if not blocks:
        return [f"logits:0-{min(CHANNELS, network.layers['logits'].channels) - 1}"]
    chosen = sorted({round(place) for place in np.linspace(0.05, 0.95, LAYERS) * (len(blocks) - 1)})
    return [f"{blocks[i]}:0-{CHANNELS - 1}" for i in chosen]


def class_layers(network: Any) -> tuple[str, ...]:
    """The layers whose channels are the classes: the logits, what computes them, and what lies between channel by channel."""
    found: list[str] = []
    for layer in reversed(list(network.layers.values())):
        if layer.name == "input" or layer.channels != len(network.labels or ()):
            break
        found.append(layer.name)
        if not _PER_CHANNEL.fullmatch(layer.kind):
            break
    return tuple(found)


def label_of(name: str, labels: tuple[str, ...] | None, layers: tuple[str, ...] = ("logits",)) -> str:
    """The label of an output, `letter-A` for `logits:65`; nothing for neurons of layers that have no classes."""
    layer, _, number = name.rpartition(":")
    return labels[int(number)] if labels and layer in layers and number.isdecimal() else ""


def write(network: Any, result: RenderResult, labels: list[str], out: Path, settings: dict[str, Any], title: str) -> Path:
    """One PNG per neuron, and the contact sheet: outputs under their labels, which are worth the room, others under names."""
    known = manifest.hash_of(settings_of(network, **settings))
    tiles: dict[str, Tile] = {}
    for name, images, score, failed in zip(result.names, result.images, result.final_scores(), result.failed_at, strict=True):
        path = picture_path(out, name)
        layer, _, number = name.rpartition(":")
        pixels = picture(images, network.channels)
        tile = Tile(layer, int(number), float(score), settings["seed"], known, int(failed), result.finished, pixels)
        if tile.finished or finished_tile(path) is None:
            write_tile(path, tile)
        tiles[name] = tile
    names = {name: label or name for name, label in zip(result.names, labels, strict=True)}
    before = read_sheet(out / SHEET)
    if before is not None and before.settings == known and before.finished and result.finished:
        classes = class_layers(network)
        theirs = {name: finished_tile(picture_path(out, name)) for name in before.names}
        if all(tile is not None and tile.settings == known for tile in theirs.values()):
            names = {name: label_of(name, network.labels, classes) or name for name in theirs} | names
            tiles = {name: tile for name, tile in theirs.items() if tile is not None} | tiles
    shown = [tiles[name] for name in names]
    return write_sheet(out / SHEET, _pixels(shown), list(names.values()), Sheet(known, tuple(names), result.finished), title)


def picture_path(out: Path, name: str) -> Path:
    """Where the picture of a neuron goes: `OUT/LAYER-CHANNEL.png`."""
    layer, _, number = name.rpartition(":")
    return out / f"{microscope.folder_name(layer)}-{number}.png"


def _pixels(tiles: list[Tile]) -> np.ndarray:
    return np.stack([_float(tile) for tile in tiles])


def _float(tile: Tile) -> np.ndarray:
    assert tile.image is not None
    return (tile.image if tile.image.dtype == np.uint8 else np.rint(np.clip(tile.image, 0, 1) * 255)).astype(np.float32) / 255
