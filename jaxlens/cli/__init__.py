"""The command line: `jaxlens models | layers | render | attribute`, and recipes on picture files."""

from jaxlens.cli._main import main as main
