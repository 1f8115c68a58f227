"""A small network in a file and pictures, for tests of the command line."""

import numpy as np
import pytest
import torch
from torch import nn

from jaxlens import modelzoo
from jaxlens.data import save_image
from jaxlens.model import Preprocess

try:
    from jaxlens.converters import from_torch
except ImportError:
    from converters import from_torch

LABELS = ("tench", "gold\x1b[31mfish", "rings")


def networks(folder):
    """One for any size, and one for a single size: 12 x 16."""
    torch.manual_seed(0)
    head = (nn.Flatten(), nn.Linear(4, 3), nn.Softmax(-1))
    any_size = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), *head)
    fixed = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 10 * 14, 3))
    for name, net in (("any", any_size), ("fixed", fixed)):
        model = from_torch(net.eval(), (12, 16), preprocess=Preprocess(), labels=LABELS)
        modelzoo.save(model, folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """`any.safetensors`, `fixed.safetensors`, `wide.png` and `tall.png`."""
    folder = tmp_path_factory.mktemp("here")
    networks(folder)
    pixels = np.random.default_rng(0).random((20, 30, 3), np.float32)
    save_image(folder / "wide.png", pixels)
    save_image(folder / "tall.png", pixels.swapaxes(0, 1))
    return folder
