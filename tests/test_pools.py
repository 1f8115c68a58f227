"""Pools of ours in forward mode, dilated ones under every method, and who takes the gradient of
equal maxima.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxlens import _kernels, attribution
from jaxlens.model import Model, rules
from tests.test_kernels import assert_same, images

torch = pytest.importorskip("torch")
F = torch.nn.functional
SHAPE = (1, 9, 14, 2)
POOLS = {
    "plain": lambda x: _kernels.max_pool(x, window=(3, 3), stride=(2, 2), pads=((1, 1), (0, 1))),
    "dilated": lambda x: _kernels.max_pool(x, window=(3, 2), stride=(2, 1), pads=((1, 1), (0, 0)), dilation=(2, 3)),
    "adaptive": lambda x: _kernels.adaptive_max_pool(x, (2, 3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_forward_mode_is_reverse_mode(pool):
    x, t = jnp.asarray(images(SHAPE)), jnp.asarray(images(SHAPE, seed=1))
    y, tangent = jax.jvp(pool, (x,), (t,))
    g = jnp.asarray(images(y.shape, seed=2))
    np.testing.assert_allclose((tangent * g).sum(), (jax.vjp(pool, x)[1](g)[0] * t).sum(), rtol=1e-4)
    np.testing.assert_allclose(jax.linearize(pool, x)[1](t), tangent, rtol=1e-6)
    small = 1e-3 * t
    np.testing.assert_allclose(jax.jvp(pool, (x,), (small,))[1], pool(x + small) - pool(x), atol=1e-3)


def test_dilated_pools_give_ties_to_the_first():
    x = np.random.default_rng(0).integers(0, 3, (2, 9, 14, 3)).astype(np.float32)
    pads = _kernels.pooled_pads((9, 14), (3, 2), (2, 1), (1, 1), False, (2, 3))
    assert_same(
        lambda x: _kernels.max_pool(x, window=(3, 2), stride=(2, 1), pads=pads, dilation=(2, 3)),
        lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1), (2, 3)),
        x,
    )


def dilated(x):
    return lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 1, 1), ((0, 0), (1, 1), (0, 0), (0, 0)), window_dilation=(1, 2, 3, 1)
    )


@pytest.mark.slow
@pytest.mark.parametrize("pool", [POOLS["dilated"], dilated], ids=["ours", "XLA's"])
def test_methods_pass_dilated_pools(pool):
    """JAX has no gradient of XLA's. A ReLU and a sum of maxima: input x gradient counts how often a
    pixel wins.
    """

    def forward(params, x):
        return pool(jax.nn.relu(x - 0.5)).sum((1, 2))

    model = Model.from_function(forward, {}, channels=2, input_size=SHAPE[1:3], preprocess=lambda x: x)
    x = jnp.asarray(np.random.default_rng(0).uniform(size=SHAPE).astype(np.float32))
    t = torch.tensor(np.moveaxis(np.asarray(x), -1, 1).copy(), requires_grad=True)
    F.max_pool2d((t - 0.5).relu(), (3, 2), (2, 1), (1, 0), (2, 3)).sum((2, 3))[:, 0].sum().backward()
    wins = np.moveaxis(t.grad.numpy(), 1, -1)
    np.testing.assert_allclose(attribution.guided_backprop(model, x, 0).values, wins, atol=1e-6)
    np.testing.assert_allclose(attribution.lrp(model, x, 0).values, wins * x, atol=1e-5)
    np.testing.assert_allclose(attribution.full_grad(model, x, 0).delta, 0, atol=1e-4)
    np.testing.assert_allclose(attribution.deep_lift(model, x, 0).delta, 0, atol=1e-4)
    averaged = model.with_gradient_rule(rules.standard(pools="average"))
    assert np.count_nonzero(attribution.saliency(averaged, x, 0).values) > np.count_nonzero(wins)


def test_a_pool_inside_a_jitted_function_is_seen_after_it_was_cached():
    inner = jax.jit(POOLS["plain"])
    x = jnp.asarray(np.random.default_rng(0).uniform(size=SHAPE).astype(np.float32))
    plain = inner(x)
    model = Model.from_function(
        lambda p, x: inner(jax.nn.relu(x)).sum((1, 2)), {}, channels=2, input_size=SHAPE[1:3], preprocess=lambda x: x
    )
    model(x)
    np.testing.assert_allclose(attribution.deep_lift(model, x, 0).delta, 0, atol=1e-4)
    averaged = model.with_gradient_rule(rules.standard(pools="average"))
    more, few = (np.count_nonzero(attribution.saliency(m, x, 0).values) for m in (averaged, model))
    assert more > few
    np.testing.assert_array_equal(inner(x), plain)
