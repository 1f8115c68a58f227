"""One file and one line: what is added is found in the lists of the command line and of the
docs.
"""

import importlib
import subprocess
import sys

import pytest

import jaxlens
from jaxlens import attribution
from jaxlens.attribution import _registry
from jaxlens.optvis import objectives, transform
from tools import reference

METHOD = '''"""A method of its own."""

from jaxlens.attribution._query import ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution


@method()
def throwaway(model, images, target=None) -> Attribution:
    """Return the image itself."""
    query = ask(model, images, target)
    return Attribution(values=query.images, score=query.scores())
'''
OBJECTIVE = '''"""An objective of its own."""

from jaxlens._pytree import pytree
from jaxlens.optvis.objectives import Objective


@pytree
class Throwaway(Objective):
    """Maximize nothing."""

    def __call__(self, activations):
        return 0.0 * activations["input"].sum()


def throwaway() -> Objective:
    """Return the objective that is always 0."""
    return Throwaway()
'''
TRANSFORM = '''"""A transform of its own."""


def throwaway():
    """Return the transform that moves nothing."""
    return lambda key, images: images
'''


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a file, imports it and adds the façade's one line."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text, facade):
        (tmp_path / "throwaway_file.py").write_text(text)
        sys.modules.pop("throwaway_file", None)
        importlib.invalidate_caches()
        made = importlib.import_module("throwaway_file").throwaway
        made.__module__ = "jaxlens.throwaway_file"  # where it would be
        monkeypatch.setattr(facade, "throwaway", made, raising=False)
        return tmp_path

    yield write
    sys.modules.pop("throwaway_file", None)
    for table in (_registry._METHODS, _registry._MEANINGS):
        table.pop("throwaway", None)


@pytest.mark.parametrize(
    ("text", "facade"),
    [(METHOD, attribution), (OBJECTIVE, objectives), (TRANSFORM, transform)],
    ids=["method", "objective", "transform"],
)
def test_it_is_in_the_reference(written, text, facade):
    assert "`throwaway`" not in reference.page()
    written(text, facade)
    assert "- `throwaway`: Return the" in reference.page().split(f"## {facade.__name__}\n")[1].split("\n## ")[0]


@pytest.mark.slow
def test_a_method_is_in_the_command_line(written):
    folder = written(METHOD, attribution)
    assert "throwaway" in attribution.METHODS
    script = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import throwaway_file; "
        "from jaxlens.cli import main; main(['attribute', '--help'], standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "throwaway" in done.stdout, done.stderr


def test_the_reference_is_that_of_this_tree():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run python -m tools.reference"


def test_the_reference_has_every_public_package():
    found = {module.__name__ for module in reference.packages()}
    assert {"jaxlens", "jaxlens.optvis.param", "jaxlens.recipes", "converters"} <= found
    assert not any("._" in name for name in found)
    assert reference.public(jaxlens).keys() == {"Layer", "Model", "activations", "site"}
