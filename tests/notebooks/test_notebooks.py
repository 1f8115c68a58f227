"""Notebooks run from start to end, without downloads, and keep no outputs."""

import socket
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from tests.notebooks.running import CellError, code_cells, run

nbformat = pytest.importorskip("nbformat")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture
def quiet_place(tmp_path, monkeypatch):
    """An empty folder, few steps, no windows, no network."""

    def refuse(*args):
        raise OSError("A notebook must not use the network when JAXLENS_FAST=1.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXLENS_FAST", "1")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield tmp_path
    matplotlib.use(before)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_stored_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and not any(cell.outputs or cell.execution_count for cell in code)
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, quiet_place):
    pictures = run(code_cells(nbformat.read(path, as_version=4)), path.stem)
    assert len(pictures) >= 4
    assert all(np.asarray(picture.convert("RGB")).std() > 0 for picture in pictures)


def test_a_failing_cell_fails_with_its_source():
    with pytest.raises(CellError, match=r"broken, code cell 1: ZeroDivisionError: (.|\n)*there = 1 / 0  # mark"):
        run(["here = 1", "there = 1 / 0  # mark"], "broken")


def test_cells_share_names_and_show_pictures():
    line = "import matplotlib.pyplot as plt\nplt.plot([0, 1])"
    picture = "from PIL import Image\nred = Image.new('RGB', (4, 4), 'red')"
    assert len(run([line, picture, "red", "red.size", "red;"], "small")) == 2
    with pytest.raises(CellError, match="NameError"):  # of another run
        run(["red"], "next")


def test_network_is_refused(quiet_place):
    with pytest.raises(CellError, match="must not use the network"):
        run(["import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9')"], "greedy")
