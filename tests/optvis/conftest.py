"""Images and a key, for the tests of transforms."""

import jax
import pytest

from tests.optvis.transform_cases import H, W, numbers


@pytest.fixture
def images():
    return numbers(2, H, W, 3)


@pytest.fixture
def key():
    return jax.random.key(3)
