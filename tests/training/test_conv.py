"""The convolution with the fast weight gradient, against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxlens.training import _conv

NHWC = ("NHWC", "HWIO", "NHWC")


def both(x, kernel, strides, padding, **options):
    """Values and gradients of ours and of XLA's convolution."""
    found = []
    for conv in (_conv.conv_general_dilated, lax.conv_general_dilated):

        def total(x, kernel, conv=conv):
            y = conv(x, kernel, strides, padding, dimension_numbers=NHWC, **options)
            return (y * jnp.cos(jnp.arange(y.size, dtype=y.dtype).reshape(y.shape))).sum(), y

        gradients, y = jax.grad(total, (0, 1), has_aux=True)(x, kernel)
        found.append((y, *gradients))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 0), (1, 3))])
@pytest.mark.parametrize(
    ("size", "strides"), [((3, 3), (1, 1)), ((5, 3), (2, 1)), ((1, 1), (1, 1)), ((2, 4), (3, 2)), ((1, 1), (2, 2))]
)
def test_value_and_gradients(padding, size, strides):
    x = jax.random.normal(jax.random.key(0), (2, 9, 12, 3))
    kernel = jax.random.normal(jax.random.key(1), (*size, 3, 4))
    for got, want in zip(*both(x, kernel, strides, padding), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("options", [{"rhs_dilation": (2, 2)}, {"feature_group_count": 3}], ids=["dilated", "grouped"])
def test_what_is_not_plain_is_left_to_xla(options, monkeypatch):
    monkeypatch.setattr(_conv, "_conv", lambda *args: pytest.fail("taken for a plain convolution"))
    x, kernel = jnp.ones((1, 9, 12, 3)), jnp.ones((3, 3, 3 // options.get("feature_group_count", 1), 6))
    for got, want in zip(*both(x, kernel, (1, 1), "SAME", **options), strict=True):
        np.testing.assert_array_equal(got, want)


def test_flax_takes_it():
    layers = [
        nnx.Conv(3, 5, (3, 3), rngs=nnx.Rngs(0), conv_general_dilated=c)
        for c in (_conv.conv_general_dilated, lax.conv_general_dilated)
    ]
    x = jax.random.normal(jax.random.key(0), (2, 7, 10, 3))
    np.testing.assert_allclose(layers[0](x), layers[1](x), rtol=1e-5, atol=1e-5)
