"""The package's name on the index, its version and its extras, for messages and files."""

import importlib
from typing import Any

DISTRIBUTION = "jaxlens-vision"  # the index has another `jaxlens`; the name of the import is ours
VERSION = "0.1.0"


def install_hint(extra: str) -> str:
    """Return the command that installs an extra of `pyproject.toml`."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def optional(module: str, need: str, extra: str) -> Any:
    """Import `module`, which an extra installs, or raise an error with `need` and the command."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{need}: {install_hint(extra)}.") from error
