"""Networks in bfloat16, against float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxlens
from tests.helpers import images, relative_error


class TwoReLUs(nnx.Module):
    """Two convolutions with functional ReLUs, and a mean: what a compiler may run as one kernel."""

    def __init__(self, rngs):
        self.first, self.second = (nnx.Conv(cin, 512, (3, 3), rngs=rngs) for cin in (3, 512))
        self.head = nnx.Linear(512, 10, rngs=rngs)

    def __call__(self, x):
        maps = nnx.relu(self.second(nnx.relu(self.first(x))))
        return self.head(maps.mean((1, 2)))


@pytest.fixture(scope="module")
def exact():
    return jaxlens.Model.from_nnx(TwoReLUs(nnx.Rngs(0)), preprocess=lambda x: x, input_size=(6, 7))


def test_relus_before_a_mean_are_right(exact):
    x = images(2, (6, 7))
    want, found = (jaxlens.activations(model, x, ["logits"])["logits"] for model in (exact, exact.astype("bfloat16")))
    assert found.dtype == jnp.bfloat16
    assert 1e-4 < relative_error(np.asarray(found, np.float32), want) < 0.02


def test_and_so_are_gradients(exact):
    x = images(1, (6, 7))

    @jax.jit
    def gradient(model, x):
        return jax.grad(lambda x: jaxlens.activations(model, x, ["logits"])["logits"].astype(jnp.float32)[0, 3])(x)

    assert 1e-4 < relative_error(gradient(exact.astype("bfloat16"), x), gradient(exact, x)) < 0.2
