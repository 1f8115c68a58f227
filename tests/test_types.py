"""What an editor sees of the public signatures: a type checker on a user's scripts, in strict
mode.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """By script, the lines on which the checker finds an error, with what it says."""
    pytest.importorskip("basedpyright", reason="the extra `lint` is absent")
    folder = tmp_path_factory.mktemp("typed")  # a user's own, without our settings
    scripts = [shutil.copy(HERE / "typed" / f"{name}.py", folder) for name in ("right", "wrong")]
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "--outputjson", *scripts]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    found = {"right": {}, "wrong": {}}
    for each in json.loads(done.stdout)["generalDiagnostics"]:
        if each["severity"] == "error":
            found[Path(each["file"]).stem][each["range"]["start"]["line"]] = each["message"]
    return found


def test_right_code_has_no_error(errors):
    assert errors["right"] == {}


def test_every_mistake_is_found(errors):
    lines = (HERE / "typed" / "wrong.py").read_text().splitlines()
    mistakes = {number for number, line in enumerate(lines) if line.endswith("# mistake")}
    assert len(mistakes) > 15 and errors["wrong"].keys() == mistakes, errors["wrong"]
