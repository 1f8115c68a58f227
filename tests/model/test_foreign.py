"""Models that are not ours (Flax NNX, Linen, plain JAX): they render, and gradient rules see their
functional ReLUs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax

import jaxlens
from jaxlens.errors import GradientRuleError
from jaxlens.model import Preprocess, rules
from jaxlens.optvis import render
from tests.helpers import images, relative_error

SIZE = (24, 28)
RNG = np.random.default_rng(0)
WEIGHTS = {
    "first": jnp.asarray(RNG.normal(size=(3, 3, 3, 6)) / 3, jnp.float32),
    "bias": jnp.asarray(RNG.normal(size=6) / 3, jnp.float32),
    "second": jnp.asarray(RNG.normal(size=(3, 3, 6, 4)) / 5, jnp.float32),
}


def conv(x, kernel):
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def plain(params, x):
    x = jnp.maximum(conv(x, params["first"]) + params["bias"].reshape(1, 1, 1, -1), 0)
    return jaxlens.site("second", jax.nn.relu)(conv(x, params["second"])).mean((1, 2))


class NNXNet(nnx.Module):
    def __init__(self, act=jax.nn.relu):
        self.act = act
        self.first = nnx.Conv(3, 6, (3, 3), rngs=nnx.Rngs(0))
        self.second = nnx.Conv(6, 4, (3, 3), use_bias=False, rngs=nnx.Rngs(0))
        self.first.kernel.set_value(WEIGHTS["first"])
        self.first.bias.set_value(WEIGHTS["bias"])
        self.second.kernel.set_value(WEIGHTS["second"])

    def __call__(self, x):
        return self.act(self.second(self.act(self.first(x)))).mean((1, 2))


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(6, (3, 3), name="first")(x))
        return linen.relu(linen.Conv(4, (3, 3), use_bias=False, name="second")(x)).mean((1, 2))


def model(kind, **options):
    options |= {"input_size": SIZE, "preprocess": Preprocess()}
    if kind == "nnx":
        return jaxlens.Model.from_nnx(NNXNet(), **options)
    if kind == "linen":
        variables = {
            "params": {"first": {"kernel": WEIGHTS["first"], "bias": WEIGHTS["bias"]}, "second": {"kernel": WEIGHTS["second"]}}
        }
        return jaxlens.Model.from_linen(LinenNet(), variables, **options)
    return jaxlens.Model.from_function(plain, WEIGHTS, **options)


def guided_by_hand(x, unit):
    """Backwards layer by layer: at each ReLU the gradient passes where its input and it itself are
    positive.
    """
    one, back_one = jax.vjp(lambda x: conv(x, WEIGHTS["first"]) + WEIGHTS["bias"].reshape(1, 1, 1, -1), x)
    two, back_two = jax.vjp(lambda x: conv(x, WEIGHTS["second"]), jnp.maximum(one, 0))
    g = jnp.zeros_like(two).at[..., unit].set(1 / (two.shape[1] * two.shape[2]))
    (g,) = back_two(jnp.where((two > 0) & (g > 0), g, 0))
    return back_one(jnp.where((one > 0) & (g > 0), g, 0))[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nnx", "linen", "function"])
def test_guided_backprop_equals_a_hand_written_one(kind):
    x, network = images(2, SIZE), model(kind)

    def gradient(network):
        return jax.grad(lambda x: network(x)[:, 2].sum())(x)

    assert relative_error(gradient(network.with_gradient_rule(rules.guided())), guided_by_hand(x, 2)) < 1e-5
    assert relative_error(gradient(network), guided_by_hand(x, 2)) > 0.1  # control: the plain one is another
    assert relative_error(network.with_gradient_rule(rules.guided())(x), network(x)) < 1e-6  # values stay


@pytest.mark.parametrize("kind", ["nnx", "linen", "function"])
def test_they_render(kind):
    result = render.render(model(kind), "second:2", size=SIZE, steps=6, transforms=[], progress=False)
    assert result.scores[0, -1] > result.scores[0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("act", [jnp.tanh, jax.nn.gelu, jax.nn.silu], ids=["tanh", "gelu", "silu"])
def test_an_unknown_nonlinearity_raises_and_still_renders(act):
    network = jaxlens.Model.from_nnx(NNXNet(act), input_size=SIZE, preprocess=Preprocess())
    with pytest.raises(GradientRuleError, match="allow"):
        jax.grad(lambda x: network.with_gradient_rule(rules.guided())(x).sum())(images(1, SIZE))
    assert np.isfinite(render.render(network, "second:1", size=SIZE, steps=2, progress=False).scores).all()
