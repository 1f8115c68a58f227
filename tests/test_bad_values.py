"""Every public argument against bad values; see `tests.bad_values`, which prints what comes of each
call.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHARE = "1" if os.environ.get("JAXLENS_EVERY_BAD_VALUE") else "0.02"  # of 30,000 calls, which take twelve minutes


def python(*arguments):
    root = Path(__file__).parents[1]
    return subprocess.run([sys.executable, *arguments], cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_no_bad_value_hangs_gives_what_is_not_finite_or_ends_in_an_error_of_another_library():
    done = python("-m", "tests.bad_values", "--share", SHARE)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_the_grid_sees_what_is_wrong():
    """A function that lets everything through, and one that fails in NumPy's words."""
    code = (
        "import numpy as np, jaxlens.plot as plot\n"
        "from tests import bad_values\n"
        "plot.collapse_channels = lambda activations: np.sqrt(activations)\n"
        "plot.collapse_channels.__name__, plot.collapse_channels.__module__ = 'collapse_channels', 'jaxlens.plot'\n"
        "with bad_values.Setting():\n"
        "    found, _ = bad_values.run(['jaxlens.plot'], 1, 'collapse_channels')\n"
        "print(sorted({kind for kind, _, _ in found}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "['raw', 'silent']", done.stdout + done.stderr[-2000:]
