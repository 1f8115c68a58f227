"""A network is one file."""

import importlib
import subprocess
import sys

import pytest

from jaxlens import modelzoo
from jaxlens.modelzoo import _registry

FILE = '''"""A network of its own."""

import jax.numpy as jnp
from flax import nnx

from jaxlens.modelzoo._layers import Linear
from jaxlens.modelzoo._network import Network


class Throwaway(nnx.Module):
    """The mean colour, and a linear layer."""

    def __init__(self, *, num_classes: int = 4):
        self.fc = Linear(3, num_classes)

    def __call__(self, x):
        return self.fc(jnp.mean(x, (1, 2)))


NETWORKS = (Network("throwaway", Throwaway, 16, (), "a test", outputs=4),)
'''


@pytest.fixture
def throwaway(tmp_path, monkeypatch):
    (tmp_path / "throwaway.py").write_text(FILE)
    monkeypatch.setattr(modelzoo, "__path__", [*modelzoo.__path__, str(tmp_path)])
    _registry.networks.cache_clear()
    yield tmp_path
    _registry.networks.cache_clear()
    sys.modules.pop("jaxlens.modelzoo.throwaway", None)


def test_one_file_is_a_network_everywhere(throwaway):
    importlib.invalidate_caches()
    assert "throwaway" in modelzoo.names()
    model = modelzoo.load("throwaway", weights=None)
    assert list(model.layers) == ["input", "fc", "logits"]
    script = (
        f"from jaxlens import modelzoo; modelzoo.__path__.append({str(throwaway)!r}); "
        "from jaxlens.cli import main; main(['models'], standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "throwaway" in done.stdout, done.stderr
    with pytest.raises(LookupError, match="throwaway"):
        modelzoo.load("throwawy")


def test_without_the_file_it_is_unknown():
    assert "throwaway" not in modelzoo.names()
