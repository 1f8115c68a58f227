"""What the tests of recipes share: sizes, options, what a network sees of pictures, and what a
recipe gives to `render`.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlens
from tests.helpers import SIZE
from tests.pictures import photo as photo

H, W = SIZE
LAYER = "blocks.0.conv2"
QUICK = {"progress": False, "steps": 60}


def activation(model, images, layer=LAYER):
    return np.asarray(jaxlens.activations(model, jnp.asarray(images), [layer])[layer], np.float64)


def cosine(a, b):
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


class Stop(Exception):
    """Carries what a recipe was about to render."""


def rendered(monkeypatch, module, recipe):
    """The arguments that a recipe gives to `render`, which does not run."""

    def stop(*args, **options):
        raise Stop(args, options)

    with monkeypatch.context() as patch, pytest.raises(Stop) as stopped:
        patch.setattr(f"jaxlens.recipes.{module}.render", stop)
        recipe()
    return stopped.value.args
