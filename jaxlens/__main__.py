"""`python -m jaxlens`, the same as `jaxlens`."""

from jaxlens.cli import main

main()
