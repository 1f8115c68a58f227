"""Gradient rules at max-pools, against the average-pools and formulas that they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from jax import lax

from converters import from_torch
from jaxlens import _kernels, modelzoo
from jaxlens._program import plain_gradient
from jaxlens.errors import GradientRuleError
from jaxlens.model._rules import apply_rule
from jaxlens.model._run import run
from jaxlens.model.rules import deconvnet, guided, linearized, standard
from jaxlens.optvis import render
from tests.pictures import photo

H, W = 11, 14
X = jnp.asarray(np.random.default_rng(0).normal(size=(1, H, W, 2)), jnp.float32)
WEIGHTS = jnp.asarray(np.random.default_rng(1).normal(size=(1, 5, 6, 2)), jnp.float32)

POOLS = {
    "kernel": lambda x: _kernels.max_pool(x, window=(3, 3), stride=(2, 2), pads=((0, 0), (0, 0))),
    "reduce_window": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID"),
    "nnx": lambda x: nnx.max_pool(x, (3, 3), (2, 2)),
    "jitted": jax.jit(lambda x: nnx.max_pool(x, (3, 3), (2, 2))),
}


def reference(kind, x, g, pads=((0, 0), (0, 0))):
    """torch: the gradient of an average-pool, or of the L2 formula, of the same windows without
    their padding.
    """
    x, g = (torch.tensor(np.asarray(a).transpose(0, 3, 1, 2).copy(), dtype=torch.float64) for a in (x, g))
    x.requires_grad_()

    def mean(a):
        padded = torch.nn.functional.pad(a, (*pads[1], *pads[0]))
        ones = torch.nn.functional.pad(torch.ones_like(a), (*pads[1], *pads[0]))
        pool = lambda b: torch.nn.functional.avg_pool2d(b, 3, 2)  # noqa: E731
        return pool(padded) / pool(ones)

    y = mean(x) if kind == "average" else mean(x**2) / (0.01 + mean(x.abs()))
    (gradient,) = torch.autograd.grad((y * g).sum(), x)
    return gradient.numpy().transpose(0, 2, 3, 1)


def gradient_under(rule, fn, x=X, weights=WEIGHTS):
    return jax.jit(jax.grad(lambda x: (apply_rule(rule, fn)(x) * weights).sum()))(x)


@pytest.mark.parametrize("kind", ["average", "l2"])
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_each_way_to_write_a_pool(pool, kind):
    got = gradient_under(standard(pools=kind), pool)
    np.testing.assert_allclose(got, reference(kind, X, WEIGHTS), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(apply_rule(standard(pools=kind), pool)(X), pool(X))  # values stay
    plain = gradient_under(standard(), pool)
    assert np.count_nonzero(plain) < np.count_nonzero(got)


@pytest.mark.parametrize("kind", ["average", "l2"])
def test_padding_is_no_part_of_a_window(kind):
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(1, 6, 7, 2)), jnp.float32)
    pads = ((1, 1), (1, 0))

    def kernel(x):
        return _kernels.max_pool(x, window=(3, 3), stride=(2, 2), pads=pads)

    def window(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), *pads, (0, 0)))

    for pool in (kernel, window):
        got = gradient_under(standard(pools=kind), pool, weights=weights)
        np.testing.assert_allclose(got, reference(kind, X, weights, pads), rtol=1e-4, atol=1e-5)


def test_columns_that_no_window_sees_have_no_gradient():
    """A negative padding, as a pool that rounds down leaves one."""

    def pool(x):
        return _kernels.max_pool(x, window=(3, 3), stride=(2, 2), pads=((0, 0), (0, -1)))

    got = gradient_under(standard(pools="average"), pool)
    np.testing.assert_allclose(got, reference("average", X, WEIGHTS), rtol=1e-4, atol=1e-5)
    assert not np.any(got[:, :, -1])


def test_a_maximum_over_the_whole_map():
    got = gradient_under(standard(pools="average"), lambda x: x.max((1, 2)), weights=WEIGHTS[:, 0, 0])
    np.testing.assert_allclose(got, np.broadcast_to(WEIGHTS[:, :1, :1] / (H * W), X.shape), rtol=1e-5)


def test_relus_and_pools_together():
    def network(x):
        return POOLS["kernel"](jax.nn.relu(x))

    y = jax.nn.relu(X)
    inner = reference("average", y, WEIGHTS)
    for rule, want in (
        (standard(pools="average"), inner * (X > 0)),
        (guided(pools="average"), inner * (X > 0) * (inner > 0)),
        (deconvnet(pools="average"), np.maximum(inner, 0)),
        (linearized(), inner),
        (linearized(pools="l2"), reference("l2", y, WEIGHTS)),
    ):
        np.testing.assert_allclose(gradient_under(rule, network), want, rtol=1e-4, atol=1e-5)
    # without relaxation, the gradient goes to one value of each window
    plain = gradient_under(linearized(pools="max"), network)
    np.testing.assert_allclose(plain, jax.grad(lambda y: (POOLS["nnx"](y) * WEIGHTS).sum())(y), rtol=1e-4, atol=1e-6)


def test_other_nonlinearities_keep_their_gradient_under_standard():
    def network(x):
        return jax.nn.softmax(jnp.tanh(POOLS["nnx"](x)), axis=-1)

    y = POOLS["nnx"](X)
    outer = jax.grad(lambda y: (jax.nn.softmax(jnp.tanh(y), axis=-1) * WEIGHTS).sum())(y)
    got = gradient_under(standard(pools="average"), network)
    np.testing.assert_allclose(got, reference("average", X, outer), rtol=1e-3, atol=1e-5)


def body(carry, _):
    return nnx.max_pool(carry, (3, 3), (1, 1), "SAME"), None


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda x: jax.nn.relu(x), "found no max-pool"),
        (lambda x: jnp.maximum(x[:, ::2], x[:, :-1:2]), "max \\(perhaps a pool, but not written as one\\)"),
        (lambda x: jnp.where(x[:, ::2] > x[:, :-1:2], x[:, ::2], x[:, :-1:2]), "select_n"),
        (lambda x: lax.reduce_window(x, -5.0, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"), "reduce_window"),
        (lambda x: jnp.sort(POOLS["nnx"](x), axis=1), "sort"),
        (lambda x: plain_gradient(hand_written_max_pool)(x), "marked as keeping its own gradient"),
        (lambda x: lax.scan(body, x, length=2)[0], "its body holds a max-pool"),
        (lambda x: lax.cond(x.sum() > 0, jnp.sin, nnx.relu, POOLS["nnx"](x)), "whose course depends on the image"),
    ],
)
def test_what_it_cannot_see_is_refused(fn, message):
    x = X[:, :10]
    with pytest.raises(GradientRuleError, match=message):
        jax.grad(lambda x: apply_rule(standard(pools="l2"), fn)(x).sum())(x)


def test_what_is_no_pool_is_let_through():
    """A leaky ReLU picks between two functions of one value; a marked pool may be allowed by name;
    pools need no ReLU.
    """
    got = gradient_under(standard(pools="average"), lambda x: POOLS["nnx"](jnp.where(x > 0, x, 0.1 * x)))
    y = jnp.where(X > 0, X, 0.1 * X)
    np.testing.assert_allclose(got, reference("average", y, WEIGHTS) * np.where(X > 0, 1, 0.1), rtol=1e-4, atol=1e-5)
    marked = plain_gradient(hand_written_max_pool)
    rule = standard(pools="average", allow=["plain_gradient_hand_written_max_pool"])
    x = X[:, :10]
    kept = jax.grad(lambda x: apply_rule(rule, lambda x: nnx.max_pool(marked(x), (2, 2), (2, 2)))(x).sum())(x)
    assert np.count_nonzero(kept) > 0
    np.testing.assert_allclose(
        gradient_under(linearized(), POOLS["nnx"]), reference("average", X, WEIGHTS), rtol=1e-4, atol=1e-5
    )
    low = float(np.finfo(np.float32).min)
    padded = lambda x: lax.reduce_window(  # noqa: E731
        jnp.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)), constant_values=low),
        -jnp.inf,
        lax.max,
        (1, 3, 3, 1),
        (1, 2, 2, 1),
        "VALID",
    )
    weights = jnp.ones(padded(X).shape)
    assert np.isfinite(gradient_under(standard(pools="l2"), padded, weights=weights)).all()


def hand_written_max_pool(x):
    return jnp.maximum(x[:, ::2], x[:, 1::2])


def test_kinds_are_checked():
    with pytest.raises(ValueError, match="pools='mean' must be one of max, average, l2"):
        standard(pools="mean")


class AveragedPool(torch.nn.Module):
    """torch: the values of a max-pool and the gradient of an average-pool."""

    def forward(self, x):
        averaged = torch.nn.functional.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False)
        return averaged + (torch.nn.functional.max_pool2d(x, 3, 2, ceil_mode=True) - averaged).detach()


def test_squeezenet_against_torch():
    """Both the zoo's network and the imported one, whose pools are in ceil mode."""
    net = pytest.importorskip("torchvision").models.squeezenet1_1(weights=None).eval().features[:8]
    model = from_torch(net, (67, 75), preprocess=jnp.asarray, check=False)
    image = photo(67, 75)[None] - 0.5

    def score(model, image):
        return jnp.square(run(model, image, ("6",))["6"]).sum()

    gradient = jax.jit(jax.grad(score, argnums=1))
    got = gradient(model.with_gradient_rule(standard(pools="average")), jnp.asarray(image))
    plain = gradient(model, jnp.asarray(image))
    for i, layer in enumerate(net):
        if isinstance(layer, torch.nn.MaxPool2d):
            net[i] = AveragedPool()
    x = torch.tensor(image.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    (want,) = torch.autograd.grad((net[:7](x) ** 2).sum(), x)
    want = want.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(got, want, atol=2e-4 * np.abs(want).max())
    assert np.abs(plain - want).max() > 0.1 * np.abs(want).max()


@pytest.mark.slow
def test_a_render_under_a_relaxed_pool():
    model = modelzoo.load("lensnet", progress=False).with_gradient_rule(standard(pools="l2"))
    result = render.render(model, "mixed3a:3", size=40, steps=3, transforms=[], progress=False)
    assert np.isfinite(result.scores).all() and result.scores[0, -1] > result.scores[0, 0]
