"""Small networks and images that many tests share."""

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxlens
from jaxlens.model import IMAGENET

SIZE = (40, 48)


def mostly_slow(cases, quick):
    """Return the cases of a parametrized test, of which those not in `quick` are of the slow
    tier.
    """
    unknown = set(quick) - set(cases)
    assert not unknown, unknown
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in cases]


class Block(nnx.Module):
    """Two convolutions around one ReLU module that is called twice."""

    def __init__(self, cin, cout, rngs):
        self.conv1 = nnx.Conv(cin, cout, (3, 3), padding=1, rngs=rngs)
        self.conv2 = nnx.Conv(cout, cout, (3, 3), padding=1, rngs=rngs)
        self.relu = ReLU()

    def __call__(self, x):
        return self.relu(self.conv2(self.relu(self.conv1(x))))


class ReLU(nnx.Module):
    def __call__(self, x):
        return jax.nn.relu(x)


class SmallNet(nnx.Module):
    """An NNX network that is not ours: nested, with a shared ReLU, batch-norm, a pool and a
    functional ReLU.
    """

    def __init__(self, rngs, width=8, classes=5):
        self.stem = nnx.Conv(3, width, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.blocks = nnx.List([Block(width, width, rngs), Block(width, 2 * width, rngs)])
        self.head = nnx.Linear(2 * width, classes, rngs=rngs)

    def __call__(self, x):
        x = jax.nn.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = nnx.max_pool(block(x), (2, 2), (2, 2))
        return self.head(x.mean((1, 2)))


def small_model(seed=0, **options):
    options = {"input_size": SIZE, "preprocess": IMAGENET, "name": "small"} | options
    return jaxlens.Model.from_nnx(SmallNet(nnx.Rngs(seed)), **options)


def images(count=2, size=SIZE, seed=0):
    return jax.random.uniform(jax.random.key(seed), (count, *size, 3), jnp.float32)


def relative_error(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))


def open_to_all(folder):
    """Lets other users into a test's folder: pytest's own, which lie around it, are root's
    alone.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    for above in (folder, *folder.resolve().parents):
        if above != temporary and above.is_relative_to(temporary):
            above.chmod(0o755)
