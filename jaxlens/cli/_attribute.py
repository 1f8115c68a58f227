"""`jaxlens attribute`: which pixels mattered, by several methods side by side."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import jax
import jax.numpy as jnp
import numpy as np

import jaxlens
from jaxlens._checks import as_key, brief, check_int, suggest
from jaxlens.attribution import Attribution, metrics
from jaxlens.attribution._maps import sum_channels
from jaxlens.attribution._registry import MEANINGS, METHODS, methods_of
from jaxlens.attribution._targets import OUTPUT, as_target
from jaxlens.cli._options import (
    COUNT,
    PICTURE,
    SIDE,
    check_writable,
    open_network,
    out_option,
    refuse_inputs,
    seed_option,
    warn_random,
    weights_option,
)
from jaxlens.cli._output import Command, say, seconds
from jaxlens.cli._pictures import crop, save_picture
from jaxlens.cli._render import label_of
from jaxlens.data._image import picture_format
from jaxlens.plot import attributions
from jaxlens.plot._panel import VIEWS

DEFAULT_METHODS = ("grad_cam", "integrated_gradients", "smooth_grad", "occlusion")
MEASURES = ("deletion", "insertion", "sparseness")
STEPS = 25  # of deletion and insertion: what vanishes at the first of them has an area of 0.02
CONTROL = "random"  # a map that knows nothing, which a method should beat


@click.command(cls=Command, epilog=f"Methods: {', '.join(METHODS)}.")
@click.argument("model")
@click.argument("images", type=PICTURE, nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME[@LAYER]",
    help=f"One of those below; may be given several times.  [default: {', '.join(DEFAULT_METHODS)}]",
)
@click.option(
    "--target", metavar="CLASS", help="A class number, a label, or LAYER:CHANNEL.  [default: each image's own top class]"
)
@click.option("--layer", help="Attribute to what this layer outputs, where a method can.  [default: as each method chooses]")
@weights_option
@click.option("--size", type=SIDE, help="Side of the images in pixels.  [default: what the network was made for]")
@click.option("--view", type=click.Choice(VIEWS[:-1]), default="blended", show_default=True, help="How the maps are drawn.")
@click.option("--metrics/--no-metrics", "measured", default=True, help="Whether to measure the maps.  [default: --metrics]")
@click.option("--batch-size", type=COUNT, help="Network evaluations at a time; less takes less memory.")
@seed_option
@out_option
def attribute(
    model: str,
    images: tuple[Path, ...],
    methods: Sequence[str],
    target: str | None,
    layer: str | None,
    weights: str,
    size: int | None,
    view: str,
    measured: bool,
    batch_size: int | None,
    seed: int,
    out: Path,
) -> None:
    """Shows which pixels of each IMAGE speak for a class of MODEL, by several methods side by side.

    Red speaks for the class, blue against it. Of methods whose sign says something else, such as gradients, purple shows how
    much a pixel matters either way; of rise, eigen_cam and random_cam red is above the map's mean and blue below. Images are
    cropped to their middle. NAME@LAYER attributes to what a layer outputs, so that a method can be had at several.

    Prints the class of each image with its probability, and for each method, also below its panel: deletion, the mean
    probability while pixels are taken away in the order of the map (low is good); insertion, while they are put in (high is
    good); sparseness, from 0 for an even map to nearly 1 for a single pixel. Pixels go in the order of what the colours show:
    signed values from what speaks for the class most to what speaks against it most, purple ones by their size. The map called
    random is a control, one random number per pixel: a method no better than it has found nothing.

    \b
    Examples:
      jaxlens attribute lensnet picture.png --out map.png
      jaxlens attribute squeezenet1_1 dog.jpg cat.jpg --method grad_cam --method rise --out maps.png
      jaxlens attribute resnet50 dog.jpg --target tabby --method grad_cam@layer3 --method grad_cam@layer4 --out cat.png
    """
    picture_format(out)
    check_writable(out.parent)
    wanted = [_method(text, layer) for text in methods or DEFAULT_METHODS]
    refuse_inputs(out, [*images, model, weights])
    network = open_network(model, weights)
    if warning := warn_random(weights):
        say(warning, err=True)
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
            say("\t".join([brief(path.name), brief(class_name), brief(column), *note.splitlines()]))
    rows = [f"{path.stem}: {class_name}" for path, class_name in zip(images, names, strict=True)]
    title = f"{model}, {pictures.shape[1]} x {pictures.shape[2]} px{_legend(signs)}"
    save_picture(out, attributions(maps, pictures, rows, view=view, sign=signs, notes=notes, title=title), True)
    say(f"{len(images)} images, {len(wanted)} methods in {seconds():.1f} s -> {out}")


def _shown(name: str, found: Attribution) -> Attribution:
    """The map that is drawn and measured: signed, or sizes, or around its mean."""
    if MEANINGS[name] == "sizes":
        return found.replace(values=sum_channels(found.values, "abs_sum"))
    if MEANINGS[name] == "levels":
        return found.replace(values=found.values - found.values.mean((1, 2, 3), keepdims=True))
    return found


def _control(pictures: np.ndarray, seed: int) -> Attribution:
    """One random number per pixel, the same for every picture."""
    drawn = jax.random.uniform(as_key(seed, "--seed"), (1, *pictures.shape[1:3], 1))
    values = jnp.broadcast_to(drawn, (*pictures.shape[:3], 1))
    return Attribution(values=values, scores=jnp.zeros(len(pictures)), method=CONTROL)


def _sign(name: str, view: str) -> str:
    """How a method's values are drawn."""
    if name == CONTROL or MEANINGS[name] == "sizes":
        return "absolute"
    return "all" if view in ("heat_map", "blended") else "positive"


def _legend(signs: Mapping[str, str]) -> str:
    """What the colours of the maps in a figure mean."""
    used = set(signs.values())
    names = {column.split()[0] for column in signs}
    levels = sorted(names & methods_of("levels"))
    said = ["red for the class, blue against"] * bool("all" in used and names & methods_of("signed"))
    said += [f"{', '.join(levels)}: red above its mean, blue below"] * bool("all" in used and levels)
    said += ["purple: how much it matters"] * ("absolute" in used and "all" in used)
    return "".join(f"; {each}" for each in said)


def _method(text: str, layer: str | None) -> tuple[str, str | None]:
    """The name of a method and the layer to attribute to, or an error."""
    name, _, own = text.partition("@")
    if name not in METHODS:
        raise click.ClickException(
            f"--method {name!r} is not a method. Closest: {', '.join(suggest(name, METHODS))}. "
            "`jaxlens attribute --help` lists all."
        )
    if own and not _has(name, "layer"):
        raise click.ClickException(f"--method {text!r}: {name} attributes to the pixels only. Leave out @{own}.")
    return name, own or (layer if _has(name, "layer") else None)


def _has(name: str, option: str) -> bool:
    parameters = inspect.signature(METHODS[name]).parameters
    return option in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def _targets(network: Any, pictures: np.ndarray, text: str | None) -> tuple[Any, list[str]]:
    """What to ask the methods for, and what it is called for each picture."""
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
    names = [label_of(f"{OUTPUT}:{i}", network.labels) or f"class {i}" for i in index]
    return index, [f"{name} ({p:.2f})" for name, p in zip(names, likely, strict=True)]


def _measure(network: Any, pictures: np.ndarray, found: Any, target: Any, batch_size: int | None) -> list[str]:
    """For each picture how well its map holds, one measure to a line."""
    curves = (metrics.deletion, metrics.insertion)
    areas = [curve(network, pictures, found, target, steps=STEPS, batch_size=batch_size).area for curve in curves]
    columns = np.stack([*areas, metrics.sparseness(sum_channels(found.values))], -1)
    return ["\n".join(f"{name} {value:.3f}" for name, value in zip(MEASURES, row, strict=True)) for row in columns]
