"""Every public name with its first line, as `docs/reference.md`: `python -m tools.reference`."""

import importlib
import inspect
import pkgutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxlens
from jaxlens import modelzoo

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
# Commands, the checkout's other name of `converters`, and what users reach by the name of a network
# or an operator.
SKIPPED = ("cli", "__main__", "converters", "modelzoo.", "graph.ops")
ABOUT = f"""# Reference

Every public name and what it does. `help(name)` has the arguments, the errors and an example of each.
`python -m tools.reference` writes this page from the docstrings of jaxlens {jaxlens.__version__}.
"""


def packages() -> Iterator[types.ModuleType]:
    """Return the modules that users import from, jaxlens first."""
    yield jaxlens
    for found in pkgutil.walk_packages(jaxlens.__path__, "jaxlens."):
        name = found.name.removeprefix("jaxlens.")
        if not name.startswith(SKIPPED) and "._" not in found.name:
            yield importlib.import_module(found.name)
    yield importlib.import_module("jaxlens.converters")


def public(module: types.ModuleType) -> dict[str, Any]:
    """Return the functions and classes that a module offers, by name."""
    found = {name: value for name, value in sorted(vars(module).items()) if not name.startswith("_")}
    return {name: value for name, value in found.items() if callable(value) and _is_ours(value)}


def page() -> str:
    """Return the page's text."""
    sections = []
    for module in packages():
        lines = [f"- `{name}`: {_first_line(value)}" for name, value in public(module).items()]
        if lines:
            sections.append(f"\n## {module.__name__}\n\n{_first_line(module)}\n\n" + "\n".join(lines) + "\n")
    networks = "\n".join(f"- `{name}`" for name in modelzoo.names())
    return f"{ABOUT}{''.join(sections)}\n## Networks of `jaxlens.modelzoo.load`\n\n{networks}\n"


def _is_ours(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).split(".")[0] in ("jaxlens", "converters")


def _first_line(value: Any) -> str:
    """Return the first sentence of a docstring's first paragraph."""
    paragraph = (inspect.getdoc(value) or "").split("\n\n")[0]
    return " ".join(paragraph.split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
