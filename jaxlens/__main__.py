"""Run the command line: `python -m jaxlens`."""

from jaxlens.cli.__main__ import run

run()
