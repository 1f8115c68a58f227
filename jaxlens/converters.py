"""Stand-in for `jaxlens.converters` in a checkout and in editable installs.

It loads the folder `converters` beside the package, which the wheel has in place of this file. It
finds the folder by its path, and so never takes a user's own `converters` for it.
"""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from converters import convert as convert
    from converters import from_torch as from_torch
    from converters import read_state_dict as read_state_dict

_FOLDER = Path(__file__).resolve().parents[1] / "converters"


def _load() -> None:
    try:
        spec = importlib.util.find_spec("converters")
    except ValueError:  # somebody put a module there by hand
        spec = None
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == _FOLDER / "__init__.py":
        sys.modules[__name__] = importlib.import_module("converters")  # both spellings are one module
        return
    spec = importlib.util.spec_from_file_location(__name__, _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)])
    assert spec is not None and spec.loader is not None
    module = sys.modules[__name__] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


_load()
