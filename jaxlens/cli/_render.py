"""`jaxlens render`: a PNG per neuron and a labelled contact sheet."""

import re
import tempfile
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from jaxlens import microscope, modelzoo
from jaxlens._files import atomic
from jaxlens.data import save_image
from jaxlens.optvis.render import RenderResult
from jaxlens.optvis.render import render as render_objectives
from jaxlens.plot import contact_sheet

DEFAULT_MODEL = "lensnet"
LAYERS, CHANNELS = 4, 4  # rendered when no layer is named


@click.command()
@click.argument("model", default=DEFAULT_MODEL)
@click.argument("neurons", nargs=-1, metavar="[LAYER:CHANNELS]...")
@click.option(
    "--weights",
    default="DEFAULT",
    show_default=True,
    metavar="W",
    help="DEFAULT, a torchvision weights name, a .pth or .safetensors file, or none for random weights.",
)
@click.option(
    "--layers",
    multiple=True,
    metavar="L[,L...]",
    help="Render whole layers, as a job that can be interrupted and resumed. Patterns such as 'mixed4*' work.",
)
@click.option("--all-channels", is_flag=True, help="Every channel of --layers, or without these of the whole network.")
@click.option("--size", default=128, show_default=True, help="Side of the images in pixels.")
@click.option("--steps", default=512, show_default=True, help="Optimization steps.")
@click.option(
    "--batch", type=int, help="Neurons rendered together; less takes less memory.  [default: one for two cores, 64 on a GPU]"
)
@click.option("--memory-limit", type=float, metavar="GB", help="Render fewer neurons together to stay under this.")
@click.option("--compute-dtype", metavar="DTYPE", help="Of the network, such as bfloat16 on a GPU.  [default: the weights']")
@click.option(
    "--distributed", is_flag=True, help="One of several processes, each with its slice: calls jax.distributed.initialize()."
)
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same pictures.")
@click.option(
    "--out",
    default="jaxlens-out",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pictures; made if it is not there.",
)
def render(
    model: str,
    neurons: tuple[str, ...],
    weights: str,
    layers: tuple[str, ...],
    all_channels: bool,
    size: int,
    steps: int,
    batch: int | None,
    memory_limit: float | None,
    compute_dtype: str | None,
    distributed: bool,
    seed: int,
    out: Path,
) -> None:
    """Renders what neurons of MODEL respond to.

    LAYER:CHANNELS names the neurons: features.9:3 is one, features.9:0-15 sixteen (both ends included), features.9:3,7,12
    three, features.9:all the whole layer, logits:tabby a class. Several may be given. Without any, four
    neurons of each of four layers from early to late are shown; without MODEL, lensnet's, which comes with jaxlens.

    Writes OUT/LAYER-CHANNEL.png for each neuron, and all of them with their names in OUT/contact-sheet.png. Prints the score
    of each: the mean activation over the last steps, as the network saw the images, moved about by random transforms.

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
    network = modelzoo.load(model, weights=None if weights.lower() == "none" else weights)
    limits: dict[str, Any] = {
        "batch": batch,
        "memory_limit": None if memory_limit is None else round(memory_limit * 1e9),
        "compute_dtype": compute_dtype,
    }
    if layers or all_channels:
        names = [name.strip() for text in layers for name in text.split(",")] or None
        return job(network, names, None if all_channels else range(CHANNELS), out, size=size, steps=steps, seed=seed, **limits)
    wanted: Any = list(neurons) or list(modelzoo.info(model).show) or default_neurons(network)
    if weights.lower() == "none":
        click.echo("Random weights: these are pictures of an untrained network. Pass --weights for a trained one.", err=True)
    result = render_objectives(network, wanted, size=size, steps=steps, seed=seed, **limits)
    labels = [label_of(name, network.labels) for name in result.names]
    write(result, labels, out, title=f"{model}, {size} px, {steps} steps, seed {seed}")
    for name, label, score in zip(result.names, labels, result.final_scores(), strict=True):
        click.echo(f"{name}{f' {label}' if label else ''}\t{score:.3f}")
    click.echo(f"{len(result.names)} neurons in {result.seconds:.1f} s -> {out / 'contact-sheet.png'}")
    if not result.finished:
        raise click.ClickException("interrupted; the pictures show the neurons as they were.")


def check_writable(folder: Path) -> None:
    """Makes the folder and tries it, before anything long runs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.ClickException(
            f"--out {str(folder)!r} cannot be written to ({error.strerror}). Name another folder."
        ) from error


def job(network: Any, layers: list[str] | None, channels: range | None, out: Path, **settings: Any) -> None:
    """Whole layers, and a contact sheet of each that is finished."""
    done = microscope.render_layers(network, layers, out, channels=channels, **settings)
    for layer in done.layers:
        tiles = done.tiles(layer)
        if tiles and len(tiles) == len(done.layers[layer]):
            images = np.stack([np.asarray(tile.image, np.float32)[None] / 255 for tile in tiles])
            sheet = contact_sheet(images, [str(tile.channel) for tile in tiles], title=f"{network.name} {layer}")
            with atomic(out / f"{microscope.folder_name(layer)}.png") as part:
                sheet.save(part, format="PNG")
    total = sum(map(len, done.layers.values()))
    click.echo(f"{done.rendered} of {total} neurons rendered now, in {done.seconds:.1f} s -> {out}")
    if not done.finished:
        raise click.ClickException("interrupted; the same command goes on.")


def default_neurons(network: Any) -> list[str]:
    """The first channels of layers spread over the depth."""
    blocks = [name for name in microscope.blocks(network) if network.layers[name].channels >= CHANNELS]
    chosen = sorted({round(place) for place in np.linspace(0.05, 0.95, LAYERS) * (len(blocks) - 1)})
    return [f"{blocks[i]}:0-{CHANNELS - 1}" for i in chosen]


def label_of(name: str, labels: tuple[str, ...] | None) -> str:
    """The label of an output, `letter-A` for `logits:65`; nothing for other neurons."""
    layer, _, number = name.partition(":")
    return labels[int(number)] if labels and layer == "logits" and number.isdigit() else ""


def write(result: RenderResult, labels: list[str], out: Path, title: str) -> None:
    """One PNG per neuron, and the contact sheet: outputs under their labels, which are worth the room, others under names."""
    for name, images in zip(result.names, result.images, strict=True):
        stem = re.sub(r"[^\w.-]+", "-", name)
        save_image(out / f"{stem}.png", np.concatenate(list(images), axis=1))
    shown = [label or name for name, label in zip(result.names, labels, strict=True)]
    contact_sheet(result.images, shown, title=title).save(out / "contact-sheet.png")
