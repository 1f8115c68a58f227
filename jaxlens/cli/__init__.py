"""The command line: `jaxlens models | layers | render`."""

from jaxlens.cli._main import main as main
