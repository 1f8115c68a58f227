"""What `make lint` holds the tree to, each with a planted breach: who may import whom, and how long
a file may be.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.file_lengths import MOST, too_long

ROOT = Path(__file__).parents[1]
BREACHES = {
    "an upward import": ("_checks.py", "from jaxlens import attribution\n", "Nothing imports from above its own line BROKEN"),
    "a circle": ("model/_sites.py", "from jaxlens.model import _model\n", "No circles BROKEN"),
    "a converter that knows the zoo": ("../converters/_fx.py", "from jaxlens import modelzoo\n", "their command does BROKEN"),
    "a package that needs a checkout": ("model/_sites.py", "from tools import reference\n", "only in a checkout BROKEN"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    pytest.importorskip("importlinter", reason="the extra `lint` is absent")
    folder = tmp_path_factory.mktemp("tree")
    for name in ("jaxlens", "converters", "tools", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors", "*.json"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def contracts(folder):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_tree_keeps_its_contracts(tree):
    code, said = contracts(tree)
    assert code == 0 and "4 kept, 0 broken" in said, said


@pytest.mark.parametrize("name", BREACHES)
def test_a_planted_breach_is_found(tree, name):
    file, line, message = BREACHES[name]
    path = tree / "jaxlens" / file
    before = path.read_text()
    try:
        path.write_text(f"{before}\n{line}")
        code, said = contracts(tree)
    finally:
        path.write_text(before)
    assert code != 0 and message in said, said


def test_a_long_file_is_found(tmp_path):
    for name, lines in (("short.py", MOST), ("long.py", MOST + 1), ("notes.md", 10 * MOST)):
        (tmp_path / name).write_text("#\n" * lines)
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    assert too_long(tmp_path) == [f"long.py: {MOST + 1} lines, {MOST} at most"]
