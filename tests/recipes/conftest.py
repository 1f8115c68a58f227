"""A small network, pictures, and how often a step is traced: for the tests of recipes."""

import numpy as np
import pytest

from jaxlens.optvis.render import _step
from tests.helpers import small_model
from tests.recipes.measures import H, W, photo


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def photos():
    return np.stack([photo(H, W), photo(H, W)[::-1, ::-1]])


@pytest.fixture
def programs(monkeypatch):
    """How often a step is traced."""
    traces = []
    score = _step.score

    def counted(*args):
        traces.append(1)
        return score(*args)

    monkeypatch.setattr(_step, "score", counted)
    _step.step.clear_cache()
    return traces
