"""`python -m jaxlens.cli`, the same as `jaxlens`."""

from jaxlens.cli import main

main()
