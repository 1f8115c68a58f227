"""`python -m jaxlens`: the command line."""

from jaxlens.cli.__main__ import run

run()
