"""Maxima over positions and linear rearrangements, however they are written, under gradient rules,
DeepLift and LRP.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax

import jaxlens
from jaxlens import attribution
from jaxlens.attribution import UnsupportedError
from jaxlens.errors import GradientRuleError
from jaxlens.model._rules import apply_rule, guided, standard

H, W, C = 2, 3, 2
SPACE = H * W
RNG = np.random.default_rng(0)
IMAGES = jnp.asarray(RNG.random((2, H, W, C)), jnp.float32)
BASELINE = jnp.asarray(RNG.random((1, H, W, C)), jnp.float32)
SIGNS = jnp.asarray([[2.0], [-3.0]])
METHODS = {
    "guided": lambda model: attribution.guided_backprop(model, IMAGES, 0),
    "deconvnet": lambda model: attribution.deconvnet(model, IMAGES, 0),
    "deep_lift": lambda model: attribution.deep_lift(model, IMAGES, 0, baseline=BASELINE),
    "lrp": lambda model: attribution.lrp(model, IMAGES, 0),
    "full_grad": lambda model: attribution.full_grad(model, IMAGES, 0, absolute=False),
}


def flat(x):
    return x.reshape(x.shape[0], SPACE, C)


def taken(x):
    return jnp.take_along_axis(flat(x), jnp.argmax(flat(x), 1)[:, None], 1)[:, 0]


def indexed(x):
    pixels, places = flat(x), jnp.argmax(flat(x), 1)
    rows, channels = jnp.broadcast_arrays(jnp.arange(len(places))[:, None], jnp.arange(C)[None])
    return pixels[rows, places, channels]


MAXIMA = {
    "max": lambda x: x.max((1, 2)),
    "nanmax": lambda x: jnp.nanmax(x, (1, 2)),
    "of some": lambda x: jnp.max(x, (1, 2), where=jnp.ones((1, H, W, 1), bool), initial=-jnp.inf),
    "sorted": lambda x: jnp.sort(flat(x), 1)[:, -1],
    "sorted, falling": lambda x: jnp.sort(flat(x), 1, descending=True)[:, 0],
    "sorted, negated": lambda x: -jnp.sort(-flat(x), 1)[:, 0],
    "top_k": lambda x: lax.top_k(flat(x).swapaxes(1, 2), 1)[0][..., 0],
    "the first of top_k": lambda x: lax.top_k(flat(x).swapaxes(1, 2), 3)[0][..., 0],
    "argmax and take": taken,
    "argmax and index": indexed,
    "argmax and index, vmapped": lambda x: jax.vmap(jax.vmap(lambda v: v[jnp.argmax(v)], 1))(flat(x)),
    "NNX's pool": lambda x: nnx.max_pool(x, (H, W))[:, 0, 0],
    "Linen's pool": lambda x: linen.max_pool(x, (H, W))[:, 0, 0],
    "cummax": lambda x: lax.cummax(flat(x), 1)[:, -1],
    "negated minimum": lambda x: -(-x).min((1, 2)),
    "of unstacked": lambda x: jnp.stack(jnp.unstack(flat(x), axis=1), 0).max(0),
    "the kernel": lambda x: jaxlens._kernels.adaptive_max_pool(x, (1, 1))[:, 0, 0],
}
# Pairs one after the other: DeepLift's shares are others than of one pool, but add up.
CHAINS = {
    "maximum": lambda x: functools.reduce(jnp.maximum, jnp.unstack(flat(x), axis=1)),
    "where": lambda x: functools.reduce(lambda a, b: jnp.where(b > a, b, a), jnp.unstack(flat(x), axis=1)),
}


def model_of(pool):
    def forward(params, x):
        return pool(jax.nn.relu(x @ jnp.asarray([[1.0, -2.0], [0.5, 1.0]]) + 0.25)) @ SIGNS

    return jaxlens.Model.from_function(forward, {}, preprocess=lambda x: x, input_size=(H, W), channels=C, name="pooled")


@functools.cache
def found(method, pool):
    return METHODS[method](model_of(pool))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pool", MAXIMA.values(), ids=MAXIMA)
def test_a_maximum_is_a_maximum_however_it_is_written(pool, method):
    want, got = found(method, MAXIMA["NNX's pool"]), found(method, pool)
    np.testing.assert_allclose(got.values, want.values, atol=1e-5)
    assert float(jnp.abs(want.values).max()) > 0.1
    if method in ("deep_lift", "full_grad"):
        np.testing.assert_allclose(got.delta, 0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pool", CHAINS.values(), ids=CHAINS)
def test_chains_of_maxima_are_maxima(pool, method):
    got, want = found(method, pool), found(method, MAXIMA["NNX's pool"])
    if method == "deep_lift":
        np.testing.assert_allclose(got.delta, 0, atol=1e-4)
        np.testing.assert_allclose(got.values.sum((1, 2, 3)), want.values.sum((1, 2, 3)), atol=1e-4)
    else:
        np.testing.assert_allclose(got.values, want.values, atol=1e-5)


ORDER = jnp.asarray(RNG.permutation(SPACE))
MIXED = jnp.asarray(RNG.random((W, 3)), jnp.float32)
MASK = jnp.asarray(RNG.random((1, H, W, C)) > 0.4)
LINEAR = {
    "stack and unstack": lambda x: jnp.stack([row[:, ::-1] for row in jnp.unstack(x, axis=1)], 2).reshape(x.shape),
    "take": lambda x: flat(x)[:, ORDER],
    "concatenate": lambda x: jnp.concatenate([x[:, 1:], x[:, :1]], 1),
    "dynamic slice": lambda x: lax.dynamic_slice(x, (0, jnp.int32(1), 0, 0), (x.shape[0], 2, W, C)),
    "roll and flip": lambda x: jnp.flip(jnp.roll(x, 2, 2), 1),
    "pad": lambda x: jnp.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)))[:, :, 1:],
    "reflected": lambda x: jnp.pad(x, ((0, 0), (1, 1), (2, 2), (0, 0)), mode="reflect"),
    "repeat and tile": lambda x: jnp.tile(jnp.repeat(x, 2, 1), (1, 1, 2, 1)),
    "scattered": lambda x: jnp.zeros((x.shape[0], SPACE, C)).at[:, ORDER].set(flat(x)),
    "added by a scatter": lambda x: flat(x).at[:, :3].add(2 * flat(x)[:, 5:8]),
    "added to zeros": lambda x: jnp.zeros((x.shape[0], 4, C)).at[:, ORDER % 4].add(flat(x)),
    "updated": lambda x: lax.dynamic_update_slice(flat(x), flat(x)[:, 2:4] * 3, (0, 6, 0)),
    "selected by a mask": lambda x: jnp.where(MASK, x, 0.5 * x[:, ::-1]),
    "masked": lambda x: jnp.where(MASK, x, 0),
    "einsum": lambda x: jnp.einsum("bhwc,wv->bvhc", x, MIXED),
    "cumsum": lambda x: jnp.cumsum(x, 1),
    "a branch that is known": lambda x: lax.cond(True, lambda x: x[:, ::-1], jnp.tanh, x),
}


@pytest.mark.slow
@pytest.mark.parametrize("fn", LINEAR.values(), ids=LINEAR)
def test_what_is_linear_is_passed_by_every_method(fn):
    """After ReLUs that are open, of a model without biases: all methods are products with the
    gradient.
    """
    weights = jnp.cos(jnp.arange(fn(IMAGES)[0].size, dtype=jnp.float32))

    def forward(params, x):
        return (fn(jax.nn.relu(x)).reshape(x.shape[0], -1) @ weights)[:, None]

    model = jaxlens.Model.from_function(forward, {}, preprocess=lambda x: x, input_size=(H, W), channels=C, name="linear")
    gradient = jax.grad(lambda x: forward(None, x).sum())(IMAGES)
    np.testing.assert_allclose(METHODS["guided"](model).values, jnp.maximum(gradient, 0), atol=1e-5)
    np.testing.assert_allclose(METHODS["deep_lift"](model).values, gradient * (IMAGES - BASELINE), atol=1e-5)
    np.testing.assert_allclose(METHODS["lrp"](model).values, gradient * IMAGES, atol=1e-4)
    np.testing.assert_allclose(METHODS["full_grad"](model).values, (gradient * IMAGES).sum(-1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (lambda x: lax.scan(lambda c, _: (jax.nn.relu(c), None), x, length=2)[0], "scan"),
        (lambda x: lax.while_loop(lambda c: c.sum() < 0, jnp.tanh, x), "while"),
        (lambda x: lax.cond(x.sum() > 0, jax.nn.relu, lambda x: x, x), "cond"),
        (lambda x: jnp.asarray([1.0, 5.0, 2.0])[jnp.argmax(x[..., :1], 2) % 3], "gather"),
        (lambda x: jnp.where(x.mean() > 0, x, 2 * x), "select_n"),
    ],
    ids=["scan", "while", "cond", "a table", "a condition on another value"],
)
def test_what_no_rule_knows_is_refused_by_name(fn, name):
    whole = lambda x: fn(jax.nn.relu(x)).reshape(x.shape[0], -1).sum(1, keepdims=True)  # noqa: E731
    model = model_of(lambda x: jnp.broadcast_to(whole(x), (x.shape[0], C)))
    with pytest.raises(GradientRuleError, match=name):
        apply_rule(guided(), whole)(IMAGES)
    with pytest.raises(UnsupportedError, match=rf"no rule for.*{name}.*integrated_gradients"):
        METHODS["deep_lift"](model)
    if name != "select_n":  # relevance goes to what was chosen
        with pytest.raises(UnsupportedError, match=rf"no rule for.*{name}"):
            METHODS["lrp"](model)


def test_gathers_by_constants_are_no_pools():
    def network(x):
        return nnx.max_pool(flat(x)[:, ORDER].reshape(x.shape), (H, W))

    got = jax.grad(lambda x: apply_rule(standard(pools="average"), network)(x).sum())(IMAGES)
    np.testing.assert_allclose(got, np.full(IMAGES.shape, 1 / SPACE), rtol=1e-5)


def test_the_sum_of_the_largest_adds_up_under_deep_lift():
    """Two of (3, 1, 2) instead of (1, 2.5, 2): the sum rises from 4.5 to 5, all by the first, one
    of the largest now.
    """
    top = lambda x: lax.top_k(x[:, 0, :, 0], 2)[0].sum(-1, keepdims=True)  # noqa: E731
    model = jaxlens.Model.from_function(
        lambda p, x: top(4 * x), {}, preprocess=lambda x: x, input_size=(1, 3), channels=1, name="top"
    )
    x, x0 = (jnp.asarray(v).reshape(1, 1, 3, 1) / 4 for v in ([3.0, 1, 2], [1, 2.5, 2]))
    got = attribution.deep_lift(model, x, 0, baseline=x0)
    np.testing.assert_allclose(got.values.ravel(), [0.5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(got.delta, 0, atol=1e-6)
