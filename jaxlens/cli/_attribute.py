"""`jaxlens attribute`: show which pixels mattered, by several methods side by side."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np

import jaxlens
from jaxlens._checks import as_key, check_int, one_line, suggest
from jaxlens.attribution import Attribution, metrics
from jaxlens.attribution._maps import sum_channels
from jaxlens.attribution._registry import MEANINGS, METHODS, methods_of
from jaxlens.attribution._targets import OUTPUT, as_target
from jaxlens.cli._options import (
    COUNT,
    PICTURE,
    Source,
    check_writable,
    layer_option,
    network_command,
    network_options,
    out_option,
    refuse_inputs,
    seed_option,
    size_option,
)
from jaxlens.cli._output import say, seconds
from jaxlens.cli._pictures import crop, save_picture
from jaxlens.cli._render import label_of
from jaxlens.data._image import picture_format
from jaxlens.plot import attributions
from jaxlens.plot._panel import VIEWS

DEFAULT_METHODS = ("grad_cam", "integrated_gradients", "smooth_grad", "occlusion")
MEASURES = ("deletion", "insertion", "sparseness")
STEPS = 25  # of deletion and insertion; a probability that vanishes at the first step gives an area of 0.02
CONTROL = "random"  # a map without information, which a method should beat


@network_command(epilog=f"Methods: {', '.join(METHODS)}.")
@click.argument("images", type=PICTURE, nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME[@LAYER]",
    help=f"One of the methods below. May be given several times.  [default: {', '.join(DEFAULT_METHODS)}]",
)
@click.option(
    "--target", metavar="CLASS", help="A class number, a label, or LAYER:CHANNEL.  [default: the top class of each image]"
)
@layer_option(
    "Attribute to what this layer outputs, where a method can. May be given several times.  [default: as each method chooses]"
)
@size_option("Side of the images in pixels.  [default: the input size of the network]")
@click.option("--view", type=click.Choice(VIEWS[:-1]), default="blended", show_default=True, help="How to draw the maps.")
@click.option("--metrics/--no-metrics", "measured", default=True, help="Whether to measure the maps.  [default: --metrics]")
@click.option("--batch-size", type=COUNT, help="Number of network evaluations at a time. A smaller number takes less memory.")
@seed_option
@out_option
@network_options
def attribute(
    source: Source,
    images: tuple[Path, ...],
    methods: Sequence[str],
    target: str | None,
    layers: tuple[str, ...],
    size: int | None,
    view: str,
    measured: bool,
    batch_size: int | None,
    seed: int,
    out: Path,
) -> None:
    """Show which pixels of each IMAGE speak for a class of MODEL, by several methods side by side.

    Red speaks for the class, blue against it. Purple stands for methods whose sign has another
    meaning, such as gradients: it shows how much a pixel matters either way. For rise, eigen_cam
    and random_cam, red is above the mean of the map and blue below it. Images are cropped to their
    middle. NAME@LAYER attributes to the output of a layer, so that one method can be shown at
    several layers.

    The command prints the class of each image with its probability, and three measures of each map,
    which also stand below the map. Deletion is the mean probability while pixels are removed in the
    order of the map; low is good. Insertion is the mean probability while they are put in; high is
    good. Sparseness goes from 0 for an even map to nearly 1 for a single pixel. The order is that
    of the colors: signed values from the pixel that speaks most for the class to the one that
    speaks most against it, purple values by their size. The map called random is a control, one
    random number per pixel. A method that is no better has found nothing.

    \b
    Examples:
      jaxlens attribute lensnet picture.png --out map.png
      jaxlens attribute squeezenet1_1 dog.jpg cat.jpg --method grad_cam --method rise --out maps.png
      jaxlens attribute resnet50 cat.jpg --target tabby --method grad_cam --layer layer4 --out g.png
      jaxlens attribute resnet50 cat.jpg --method grad_cam@layer3 --method saliency --out cat.png
    """
    picture_format(out)
    check_writable(out.parent)
    wanted = [each for text in methods or DEFAULT_METHODS for each in _methods(text, layers)]
    refuse_inputs(out, [*images, source.model, source.weights])
    network = source.load()
    wanted = dict.fromkeys((name, None if where is None else network.resolve(where)) for name, where in wanted)
    pictures = np.stack([crop(path, (size, size) if size else network.input_size) for path in images])
    targets, names = _targets(network, pictures, target)
    maps, notes, signs = {}, {}, {}
    for name, where in [*wanted, *([(CONTROL, None)] if measured else [])]:
        if name == CONTROL:
            found = _control(pictures, seed)
        else:
            options = {"layer": where, "seed": seed, "batch_size": batch_size}
            options = {key: value for key, value in options.items() if _has(name, key)}
            found = _shown(name, METHODS[name](network, pictures, targets, **options))
        column = name if (at := where or found.layer) == "input" else f"{name} {at}"
        maps[column], signs[column] = found, _sign(name, view)
        notes[column] = _measure(network, pictures, found, targets, batch_size) if measured else [""] * len(images)
        for path, class_name, note in zip(images, names, notes[column], strict=True):
            say("\t".join([one_line(path.name), one_line(class_name), one_line(column), *note.splitlines()]))
    rows = [f"{path.stem}: {class_name}" for path, class_name in zip(images, names, strict=True)]
    title = f"{source.model}, {pictures.shape[1]} x {pictures.shape[2]} px{_legend(signs)}"
    save_picture(out, attributions(maps, pictures, rows, view=view, sign=signs, notes=notes, title=title), True)
    say(f"{len(images)} images, {len(wanted)} methods in {seconds():.1f} s -> {out}")


def _shown(name: str, found: Attribution) -> Attribution:
    """Return the map to draw and measure: signed values, sizes, or differences from the mean."""
    if MEANINGS[name] == "sizes":
        return found.replace(values=sum_channels(found.values, "abs_sum"))
    if MEANINGS[name] == "levels":
        return found.replace(values=found.values - found.values.mean((1, 2, 3), keepdims=True))
    return found


def _control(pictures: np.ndarray, seed: int) -> Attribution:
    """Return one random number per pixel, the same for every picture."""
    drawn = jax.random.uniform(as_key(seed, "--seed"), (1, *pictures.shape[1:3], 1))
    values = jnp.broadcast_to(drawn, (*pictures.shape[:3], 1))
    return Attribution(values=values, scores=jnp.zeros(len(pictures)), method=CONTROL)


def _sign(name: str, view: str) -> str:
    """Return how `plot.attributions` draws the values of a method."""
    if name == CONTROL or MEANINGS[name] == "sizes":
        return "absolute"
    return "all" if view in ("heat_map", "blended") else "positive"


def _legend(signs: Mapping[str, str]) -> str:
    """Return what the colors of the maps in a figure mean."""
    used = set(signs.values())
    names = {column.split()[0] for column in signs}
    levels = sorted(names & methods_of("levels"))
    said = ["red for the class, blue against"] * bool("all" in used and names & methods_of("signed"))
    said += [f"{', '.join(levels)}: red above its mean, blue below"] * bool("all" in used and levels)
    said += ["purple: how much it matters"] * ("absolute" in used and "all" in used)
    return "".join(f"; {each}" for each in said)


def _methods(text: str, layers: Sequence[str]) -> list[tuple[str, str | None]]:
    """Return the method in `text` with each layer to attribute to, or raise an error."""
    name, _, own = text.partition("@")
    if name not in METHODS:
        raise click.ClickException(
            f"--method {name!r} is not a method. Closest: {', '.join(suggest(name, METHODS))}. "
            "`jaxlens attribute --help` lists all."
        )
    if own and not _has(name, "layer"):
        raise click.ClickException(f"--method {text!r}: {name} attributes to the pixels only. Leave out @{own}.")
    if own or not layers or not _has(name, "layer"):
        return [(name, own or None)]
    return [(name, layer) for layer in layers]


def _has(name: str, option: str) -> bool:
    """Return whether a method takes an option."""
    parameters = inspect.signature(METHODS[name]).parameters
    return option in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def _targets(network: Any, pictures: np.ndarray, text: str | None) -> tuple[Any, list[str]]:
    """Return the target of the methods, and its name for each picture."""
    if text is not None and ":" in text and text not in (network.labels or ()):
        return text, [text] * len(pictures)
    logits = jaxlens.activations(network, pictures, [OUTPUT])[OUTPUT]
    if text is None:
        index = np.argmax(logits, -1)
    elif text.isascii() and text.isdecimal():
        if text in (network.labels or ()) and network.labels[int(text) : int(text) + 1] != (text,):
            raise click.ClickException(f"--target {text!r} is a number and the label of another class. Write {OUTPUT}:{text}.")
        index = np.full(len(pictures), check_int(int(text), "--target", low=0, high=logits.shape[-1] - 1))
    else:
        index = np.asarray(as_target(text, network, None, len(pictures)).index)  # type: ignore[attr-defined]
    likely = np.asarray(jax.nn.softmax(logits))[np.arange(len(pictures)), index]
    names = [label_of(OUTPUT, int(i), network.labels) or f"class {i}" for i in index]
    return index, [f"{name} ({p:.2f})" for name, p in zip(names, likely, strict=True)]


def _measure(network: Any, pictures: np.ndarray, found: Any, target: Any, batch_size: int | None) -> list[str]:
    """Return the measures of each picture's map, one measure to a line."""
    curves = (metrics.deletion, metrics.insertion)
    areas = [curve(network, pictures, found, target, steps=STEPS, batch_size=batch_size).area for curve in curves]
    columns = np.stack([*areas, metrics.sparseness(sum_channels(found.values))], -1)
    return ["\n".join(f"{name} {value:.3f}" for name, value in zip(MEASURES, row, strict=True)) for row in columns]
