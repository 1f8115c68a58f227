"""What the package is called on the index, its version and its extras: the one place for messages and files."""

import importlib
from typing import Any

DISTRIBUTION = "jaxlens-vision"  # the index has another `jaxlens`; the name of the import is ours
VERSION = "0.1.0"


def install_hint(extra: str) -> str:
    """The command that installs an extra of `pyproject.toml`."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def optional(module: str, need: str, extra: str) -> Any:
    """Imports `module`, which an extra installs; where it is absent, the error says which `need` it serves, and the command."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{need}: {install_hint(extra)}.") from error
