"""The distribution: its name, its extras, its version and what its archives hold."""

import re
import subprocess
import sys
import tarfile
import tomllib
import types
from pathlib import Path

import numpy as np
import pytest

import jaxlens
from jaxlens import modelzoo
from jaxlens._package import DISTRIBUTION, VERSION, install_hint, optional

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEXTS = [
    "README.md",
    "CONTRIBUTING.md",
    "pyproject.toml",
    "Makefile",
    "jaxlens",
    "converters",
    "notebooks",
    "benchmarks",
    "docs",
]
SUFFIXES = {".py", ".md", ".toml", ".ipynb", ".sh", ""}


def texts():
    paths = [path for name in TEXTS for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    return {path: path.read_text() for path in paths if path.is_file() and path.suffix in SUFFIXES}


def test_the_distribution_is_jaxlens_vision():
    assert PROJECT["name"] == DISTRIBUTION == "jaxlens-vision"
    assert jaxlens.__version__ == VERSION and re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_extras_are_asked_of_jaxlens_vision_everywhere_and_exist():
    text = "\n".join(texts().values())
    named = {extra for extras in re.findall(r"jaxlens-vision\[([\w,]+)\]", text) for extra in extras.split(",")}
    named |= {*re.findall(r'optional\(.*, "(\w+)"\)', text), *re.findall(r"install_hint\([\"'](\w+)[\"']\)", text)}
    assert {"torch", "train", "video", "hdf5"} <= named <= set(PROJECT["optional-dependencies"])
    assert not [path for path, text in texts().items() if re.search(r"\bjaxlens\[[a-z]", text)]


def test_a_missing_extra_is_named_with_its_command():
    with pytest.raises(ImportError, match=r"Films need it: pip install 'jaxlens-vision\[video\]'\."):
        optional("jaxlens_is_not_there", "Films need it", "video")
    assert optional("os.path", "Paths need it", "video").join("a", "b")
    assert install_hint("train") == "pip install 'jaxlens-vision[train]'"


def test_a_package_called_converters_of_somebody_else_is_said_so(tmp_path, monkeypatch):
    np.savez(tmp_path / "weights.npz", a=np.zeros(3, np.float32))
    other = types.ModuleType("converters")
    other.__file__ = "/site-packages/converters/__init__.py"
    monkeypatch.setitem(sys.modules, "converters", other)
    with pytest.raises(
        ImportError, match=r"/site-packages/converters/__init__\.py .*another distribution.*pip uninstall converters"
    ):
        modelzoo.load("lensnet", weights=tmp_path / "weights.npz")


def test_the_source_archive_holds_tracked_files_only(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling builds the archive")
    files = ["pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "jaxlens/_package.py", "jaxlens/__init__.py"]
    for name in [*files, "jaxlens/notes.txt", "photo.jpg"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes() if name in files else b"untracked")
    for command in (["init", "-q"], ["add", *files]):
        try:
            subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("git is absent.")
    build = "import hatchling.build; print(hatchling.build.build_sdist('dist'))"
    built = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=True)
    with tarfile.open(tmp_path / "dist" / built.stdout.split()[-1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names == {*files, "PKG-INFO"}
