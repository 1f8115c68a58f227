"""A network of one's own in training: looked into at every epoch without another trace, on four
devices, in another process.
"""

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_researchers_network_is_looked_into_while_it_trains():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.researcher"], env=os.environ | flags, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "traces per epoch [" in done.stdout and done.stdout.split("[")[1].startswith(tuple("123456789"))
