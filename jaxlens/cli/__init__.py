"""The command line: `jaxlens models | layers | render | attribute`, and recipes for pictures."""

from jaxlens.cli._main import main as main
