"""The command group and its listings."""

import click

from jaxlens import modelzoo
from jaxlens._checks import brief
from jaxlens._package import DISTRIBUTION, VERSION
from jaxlens.cli._attribute import attribute
from jaxlens.cli._options import WEIGHTS, open_network
from jaxlens.cli._output import Command, Group, say
from jaxlens.cli._recipes import COMMANDS
from jaxlens.cli._render import render


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the Python traceback of an error.")
@click.version_option(VERSION, package_name=DISTRIBUTION)
def main(debug: bool) -> None:
    """Looks inside image networks.

    \b
    jaxlens models                                    which networks there are
    jaxlens layers squeezenet1_1                      what can be rendered in one
    jaxlens render                                    pictures of neurons of lensnet, which comes with jaxlens
    jaxlens render squeezenet1_1 features.9:0-15      pictures of what neurons respond to
    jaxlens attribute resnet50 photo.jpg --out m.png  which pixels spoke for the class
    jaxlens dream photo.jpg --out dream.png           and style, invert, caricature, accentuate, maco, tile, zoom
    """


@main.command(cls=Command)
def models() -> None:
    """Lists the networks, with their weights and whether these are on this machine already."""
    rows = [modelzoo.info(name) for name in modelzoo.names()]
    wide = max(len(row.name) for row in rows)
    say(f"{'network':<{wide}}  {'parameters':>11}  {'input':>7}  weights (* cached)")
    for row in rows:
        sets = " ".join(f"{name}{'*' if name in row.cached else ''}" for name in row.weights)
        say(f"{row.name:<{wide}}  {row.parameters:>11,}  {'x'.join(map(str, row.input_size)):>7}  {sets}")


@main.command(cls=Command)
@click.argument("model")
@click.option("--weights", metavar="W", help=f"{WEIGHTS}  [default: none, or those of a saved network]")
@click.option("--kind", help="Only layers of this kind, such as Conv or ReLU.")
def layers(model: str, weights: str | None, kind: str | None) -> None:
    """Lists the layers of MODEL in execution order: name, kind, and shape for one image.

    MODEL is a network of `jaxlens models`, or a .safetensors file that `modelzoo.save` wrote.

    Any of these names followed by `:channels` is something `jaxlens render` can show.
    """
    network = open_network(model, weights or ("DEFAULT" if model.endswith(".safetensors") else "none"))
    rows = [layer for layer in network.layers.values() if kind is None or layer.kind.lower() == kind.lower()]
    if not rows:
        kinds = sorted({layer.kind for layer in network.layers.values()})
        raise click.ClickException(f"--kind {kind!r}: {model} has no such layer. Its kinds are {', '.join(kinds)}.")
    wide, kinds_wide = max(len(row.name) for row in rows), max(len(row.kind) for row in rows)
    for row in rows:
        say(f"{brief(row.name):<{wide}}  {brief(row.kind):<{kinds_wide}}  {' x '.join(map(str, row.shape))}")


for command in (render, attribute, *COMMANDS):
    main.add_command(command)
