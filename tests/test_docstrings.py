"""Docstrings: every public function and class has an Example, and it runs as it stands."""

import doctest
import inspect

import jax
import pytest

from tests.helpers import mostly_slow
from tests.test_public_api import NAMES

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _public():
    """By dotted name, what is callable and is not an exception."""
    found = {}
    for module, names in NAMES.items():
        for name in names.split():
            value = getattr(module, name)
            is_error = isinstance(value, type) and issubclass(value, Exception)
            if callable(value) and not is_error and value not in found.values():
                found[f"{module.__name__.removeprefix('jaxlens.')}.{name}"] = value
    return found


PUBLIC = _public()
QUICK = [name for name in PUBLIC if not name.startswith(("recipes.", "attribution.", "plot."))]


def _examples(docstring, name="example"):
    return doctest.DocTestParser().get_doctest(docstring, {}, name, None, None)


def _run(test):
    """Runs the lines one after another; returns what went wrong, as doctest prints it."""
    said = []
    # Strict promotion is for our code; users run examples as JAX comes.
    with jax.numpy_rank_promotion("allow"):
        doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=said.append)
    return "".join(said)


@pytest.mark.parametrize("name", mostly_slow(PUBLIC, QUICK))
def test_the_example_runs(name, tmp_path, monkeypatch):
    docstring = inspect.getdoc(PUBLIC[name]) or ""
    test = _examples(docstring, name)
    assert "Example:" in docstring, f"{name} has no Example in its docstring"
    assert test.examples, f"The Example of {name} has no line that begins with >>>"
    monkeypatch.chdir(tmp_path)  # where examples write their files
    assert not _run(test), name


def test_an_example_that_is_wrong_is_found():
    assert "Expected" in _run(_examples(">>> 1 + 1\n3\n"))
    assert "NameError" in _run(_examples(">>> missing\n"))
    assert not _run(_examples(">>> 1 + 1\n2\n"))
