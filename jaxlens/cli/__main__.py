"""`jaxlens` and `python -m jaxlens.cli`: the commands as a program of their own."""

import os

import jax

from jaxlens._files import cache_dir
from jaxlens._startup import leave_on_interrupt, raise_on_interrupt
from jaxlens.cli._main import main


def run() -> None:
    """Run the command line, and keep compiled programs between runs in the cache folder of jaxlens.

    The settings hold for this process alone. `JAX_COMPILATION_CACHE_DIR` takes precedence.
    """
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    raise_on_interrupt()
    try:
        main()
    finally:
        leave_on_interrupt()  # the end of Python takes time too


if __name__ == "__main__":
    run()
