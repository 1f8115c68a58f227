"""Runs notebooks in this process, so that imports and compiled programs are shared by all of them."""

import ast
import io
import linecache
from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image


class CellError(Exception):
    """A cell failed; the message holds its source."""


def code_cells(notebook: Any) -> list[str]:
    """The sources of a notebook's code cells."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def run(sources: Iterable[str], name: str) -> list[Image.Image]:
    """Executes cells one after the other in a fresh namespace, and returns the pictures that Jupyter would show."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    shown: list[Image.Image] = []
    plt.close("all")
    try:
        for number, source in enumerate(sources):
            try:
                value = _execute(source, f"<{name}, code cell {number}>", namespace)
                shown += _pictures(value)
            except Exception as error:
                raise CellError(f"{name}, code cell {number}: {type(error).__name__}: {error}\n\n{source}") from error
    finally:
        plt.close("all")
    return shown


def _execute(source: str, file: str, namespace: dict[str, Any]) -> Any:
    """The value of the last line, if it is an expression without a semicolon behind it."""
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # for tracebacks
    tree = ast.parse(source, file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, file, "exec"), namespace)
    value = None if last is None else eval(compile(ast.Expression(last.value), file, "eval"), namespace)
    return None if source.rstrip().endswith(";") else value


def _pictures(value: Any) -> list[Image.Image]:
    """What a cell shows: its figures, and its last value if that is a picture; any other value must have a text."""
    figures = [plt.figure(number) for number in plt.get_fignums()]
    if isinstance(value, Figure) and value not in figures:
        figures.append(value)
    pictures = [_drawn(figure) for figure in figures]
    plt.close("all")
    if isinstance(value, Image.Image):
        pictures.append(value)
    else:
        repr(value)
    return pictures


def _drawn(figure: Figure) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file)
