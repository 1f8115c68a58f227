"""The hand-written kernels against PyTorch, in value and in gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens import _kernels
from jaxlens._program import trace
from jaxlens.model import Model, rules

torch = pytest.importorskip("torch")
F = torch.nn.functional

# window, stride, padding, ceil_mode
FLOOR = [((2, 2), (2, 2), (0, 0), False), ((3, 3), (2, 2), (0, 0), False), ((3, 3), (2, 2), (1, 1), False)]
FLOOR += [((3, 3), (1, 1), (1, 1), False), ((3, 2), (1, 2), (1, 0), False)]
CEIL = [
    ((3, 3), (2, 2), (0, 0), True),
    ((3, 3), (2, 2), (1, 1), True),
    ((2, 2), (3, 3), (0, 0), True),
    ((2, 3), (3, 2), (1, 0), True),
]


def images(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def to_torch(x):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


def from_torch(y):
    return np.moveaxis(y.detach().numpy(), 1, -1)


def assert_same(ours, theirs, x, *, rtol=1e-5):
    """Values, and the gradients of the same random weighting of the outputs."""
    tx = to_torch(x).requires_grad_()
    want = theirs(tx)
    got, pull = jax.vjp(ours, jnp.asarray(x))
    assert got.shape == from_torch(want).shape
    np.testing.assert_allclose(got, from_torch(want), rtol=rtol, atol=rtol)
    weight = images(got.shape, seed=1)
    want.backward(to_torch(weight))
    np.testing.assert_allclose(pull(jnp.asarray(weight))[0], from_torch(tx.grad), rtol=rtol, atol=rtol)


@pytest.mark.slow
@pytest.mark.parametrize("pool", FLOOR + CEIL)
@pytest.mark.parametrize("size", [(9, 14), (8, 11)])
def test_max_pool(pool, size):
    window, stride, padding, ceil_mode = pool
    pads = _kernels.pooled_pads(size, *pool)
    assert_same(
        lambda x: _kernels.max_pool(x, window=window, stride=stride, pads=pads),
        lambda x: F.max_pool2d(x, window, stride, padding, ceil_mode=ceil_mode),
        images((2, *size, 3)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("pool", FLOOR + CEIL)
def test_avg_pool(pool, include):
    window, stride, padding, ceil_mode = pool
    pads = _kernels.pooled_pads((9, 14), *pool)
    count = tuple((p, p) if include else (0, 0) for p in padding)
    assert_same(
        lambda x: _kernels.avg_pool(x, window=window, stride=stride, pads=pads, count=count),
        lambda x: F.avg_pool2d(x, window, stride, padding, ceil_mode, include),
        images((2, 9, 14, 3)),
    )


def test_a_dilated_max_pool():
    pads = _kernels.pooled_pads((9, 14), (3, 2), (2, 1), (1, 1), False, (2, 3))
    assert_same(
        lambda x: _kernels.max_pool(x, window=(3, 2), stride=(2, 1), pads=pads, dilation=(2, 3)),
        lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1), (2, 3)),
        images((2, 9, 14, 3)),
    )


def test_max_pool_gives_ties_to_the_first():
    x = np.random.default_rng(0).integers(0, 3, (2, 9, 14, 3)).astype(np.float32)  # ties in most windows
    pads = _kernels.pooled_pads((9, 14), (3, 3), (2, 2), (1, 1), True)
    assert_same(
        lambda x: _kernels.max_pool(x, window=(3, 3), stride=(2, 2), pads=pads),
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        x,
    )


def test_max_pool_shows_nan():
    x = images((1, 8, 10, 2))
    x[0, 3, 4, 0] = x[0, 0, 9, 1] = np.nan
    pads = _kernels.pooled_pads((8, 10), (3, 3), (2, 2), (1, 1), False)
    got = _kernels.max_pool(jnp.asarray(x), window=(3, 3), stride=(2, 2), pads=pads)
    want = from_torch(F.max_pool2d(to_torch(x), 3, 2, 1))
    assert np.isnan(want).any()
    np.testing.assert_array_equal(got, want)


def test_max_pool_in_half_precision_and_under_vmap():
    x = jnp.asarray(images((2, 9, 14, 3)))

    def pool(x):
        return _kernels.max_pool(x, window=(3, 3), stride=(2, 2), pads=((0, 0), (0, 1)))

    assert pool(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    np.testing.assert_array_equal(jax.vmap(lambda one: pool(one[None])[0])(x), pool(x))


@pytest.mark.parametrize("size", [(8, 12), (9, 12), (7, 11)])
@pytest.mark.parametrize(("window", "stride"), [(3, 2), (3, 1), (2, 2), (7, 2), (5, 1)])
def test_same_padding_is_xlas(size, window, stride):
    pads = _kernels.same_pads(size, (window,) * 2, (stride,) * 2)
    want = jax.lax.padtype_to_pads(size, (window, window), (stride, stride), "SAME")
    assert pads == tuple(tuple(pair) for pair in want)


@pytest.mark.parametrize(
    ("bins", "size"),
    [((1, 1), (9, 14)), ((6, 6), (9, 14)), ((7, 7), (2, 3)), ((7, 7), (7, 7)), ((2, 3), (13, 6)), ((6, 6), (5, 12))],
)
def test_adaptive_avg_pool(bins, size):
    x = images((2, *size, 4))
    assert_same(lambda x: _kernels.adaptive_avg_pool(x, bins), lambda x: F.adaptive_avg_pool2d(x, bins), x, rtol=2e-5)


@pytest.mark.parametrize("constants", [(5, 2.0, 1e-4, 0.5), (4, 1.0, 1e-2, 0.75), (1, 1.0, 0.3, 0.5)])
def test_local_response_norm(constants):
    radius, bias, alpha, beta = constants
    size = 2 * radius + 1  # PyTorch divides alpha by the window, TensorFlow does not
    assert_same(
        lambda x: _kernels.local_response_norm(x, radius=radius, bias=bias, alpha=alpha, beta=beta),
        lambda x: F.local_response_norm(x, size, alpha * size, beta, bias),
        30 * images((2, 5, 6, 16)),
        rtol=1e-4,
    )


def test_local_response_norm_is_tensorflows_definition():
    x = 30 * images((1, 2, 3, 16))
    got = _kernels.local_response_norm(jnp.asarray(x), radius=5, bias=2.0, alpha=1e-4, beta=0.5)
    want = np.empty_like(x)
    for c in range(16):
        want[..., c] = x[..., c] / (2 + 1e-4 * (x[..., max(c - 5, 0) : c + 6] ** 2).sum(-1)) ** 0.5
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_conv1x1():
    kernel = images((1, 1, 5, 7), seed=2)
    weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
    with jax.default_matmul_precision("highest"):
        assert_same(
            lambda x: _kernels.conv(x, jnp.asarray(kernel), stride=(1, 1), pads="SAME"),
            lambda x: F.conv2d(x, weight),
            images((2, 4, 6, 5)),
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "stride", "padding", "dilation"),
    [((3, 3), 1, 1, 1), ((3, 3), 2, 1, 1), ((7, 5), 1, 3, 1), ((3, 3), 1, 2, 2), ((5, 3), 3, 0, 1)],
)
def test_depthwise_conv(size, stride, padding, dilation):
    """Values, and gradients of the image and of the kernel, against PyTorch; and XLA's own where
    whole operators are wanted.
    """
    kernel, x = images((*size, 1, 6), seed=2), images((2, 13, 16, 6))
    weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))).requires_grad_()
    options = {"stride": (stride,) * 2, "pads": ((padding,) * 2,) * 2, "dilation": (dilation,) * 2, "groups": 6}

    def ours(x, kernel):
        return _kernels.conv(x, kernel, **options)

    def theirs(x):
        return F.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation, groups=6)

    assert_same(lambda x: ours(x, jnp.asarray(kernel)), theirs, x)
    weight.grad = None
    theirs(to_torch(x)).square().sum().backward()
    gradient = jax.grad(lambda kernel: jnp.square(ours(jnp.asarray(x), kernel)).sum())(jnp.asarray(kernel))
    np.testing.assert_allclose(gradient, weight.grad.numpy().transpose(2, 3, 1, 0), rtol=1e-4, atol=1e-3)

    plain, whole = (
        jax.make_jaxpr(lambda *args: ours(*args))(x, kernel),
        trace(lambda *args: ours(*args), (x, kernel), inside=True),
    )
    assert "conv_general_dilated" not in str(plain) and [step.name for step in whole.steps].count("conv_general_dilated") == 1


def test_gradient_rules_leave_the_kernels_alone():
    def forward(params, x):
        y = _kernels.max_pool(jax.nn.relu(x), window=(3, 3), stride=(2, 2), pads=((0, 0), (0, 0)))
        return _kernels.softmax(_kernels.local_response_norm(y, radius=2, bias=1.0, alpha=0.1, beta=0.5).mean((1, 2)))

    x = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 9, 13, 4)).astype(np.float32))  # positive: ReLUs are idle
    plain = Model.from_function(forward, {}, channels=4, input_size=(9, 13), preprocess=lambda x: x)

    def gradient(model):
        return jax.grad(lambda x: model(x)[:, 0].sum())(x)

    np.testing.assert_allclose(
        gradient(plain.with_gradient_rule(rules.guided())), np.maximum(gradient(plain), 0), rtol=1e-4, atol=1e-7
    )
