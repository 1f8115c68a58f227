"""The command group, and the commands that list networks and layers."""

import functools

import click

from jaxlens import modelzoo
from jaxlens._checks import one_line
from jaxlens._package import DISTRIBUTION, VERSION
from jaxlens.cli._attribute import attribute
from jaxlens.cli._options import Source, network_command, network_options
from jaxlens.cli._output import Command, Group, say
from jaxlens.cli._recipes import COMMANDS
from jaxlens.cli._render import render


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, help="Show the Python traceback of an error.")
@click.version_option(VERSION, package_name=DISTRIBUTION)
def main(debug: bool) -> None:
    """Look inside image networks.

    Every command except `models` takes MODEL first: a network of `jaxlens models`, or a
    .safetensors file that `modelzoo.save` wrote.

    \b
    jaxlens models                                    list the networks
    jaxlens layers squeezenet1_1                      list the layers of a network
    jaxlens render                                    show neurons of lensnet, the bundled network
    jaxlens render squeezenet1_1 features.9:0-15      show what neurons respond to
    jaxlens attribute resnet50 photo.jpg --out m.png  show which pixels spoke for the class
    jaxlens dream lensnet photo.jpg --out dream.png   draw a deep dream, one of the recipes
    """


@main.command(cls=Command)
def models() -> None:
    """List the networks with their weights, and mark the weights that this machine has already."""
    rows = [modelzoo.info(name) for name in modelzoo.names()]
    wide = max(len(row.name) for row in rows)
    say(f"{'network':<{wide}}  {'parameters':>11}  {'input':>7}  weights (* cached)")
    for row in rows:
        sets = " ".join(f"{name}{'*' if name in row.cached else ''}" for name in row.weights)
        say(f"{row.name:<{wide}}  {row.parameters:>11,}  {'x'.join(map(str, row.input_size)):>7}  {sets}")


@network_command()
@click.option("--kind", help="List only layers of this kind, such as Conv or ReLU.")
@functools.partial(network_options, shapes_only=True)
def layers(source: Source, kind: str | None) -> None:
    """List the layers of MODEL in the order in which they run: name, kind, and shape for one image.

    MODEL is a network of `jaxlens models`, or a .safetensors file that `modelzoo.save` wrote.

    `jaxlens render` shows the channels of each layer: write its name, a colon, and their numbers.
    """
    network = source.load(warn=False)
    rows = [layer for layer in network.layers.values() if kind is None or layer.kind.lower() == kind.lower()]
    if not rows:
        kinds = sorted({layer.kind for layer in network.layers.values()})
        raise click.ClickException(f"--kind {kind!r}: {source.model} has no such layer. Its kinds are {', '.join(kinds)}.")
    wide, kinds_wide = max(len(row.name) for row in rows), max(len(row.kind) for row in rows)
    for row in rows:
        say(f"{one_line(row.name):<{wide}}  {one_line(row.kind):<{kinds_wide}}  {' x '.join(map(str, row.shape))}")


for command in (layers, render, attribute, *COMMANDS):
    main.add_command(command)
