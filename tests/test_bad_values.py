"""Whatever a caller passes: an error in words, and never a hang or a result that is not a number."""

import os
import subprocess
import sys

import pytest

SHARE = "1.0" if os.environ.get("JAXLENS_EVERY_BAD_VALUE") else "0.02"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_bad_arguments_are_refused_in_words_and_never_hang():
    # In a process of its own: without the type checks of test runs, and with a limit on its memory.
    command = [sys.executable, "-m", "tests.bad_values", "--share", SHARE]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert ran.returncode == 0, ran.stdout + ran.stderr
