"""Occlusion that computes only what a window reaches, against full passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from numpy.testing import assert_allclose

import jaxlens
from jaxlens import site
from jaxlens.attribution._query import ask
from jaxlens.attribution.perturbation._incremental import incremental_scores, supports
from jaxlens.attribution.perturbation._masked import masked_scores
from jaxlens.attribution.perturbation._occlusion import _grid, as_windows, window_scores
from tests.helpers import images, small_model

SIZE = (33, 46)
DIMS = ("NHWC", "HWIO", "NHWC")


def conv(x, kernel, stride=1, padding="SAME", dilation=1, groups=1):
    return lax.conv_general_dilated(
        x, kernel, (stride,) * 2, padding, rhs_dilation=(dilation,) * 2, dimension_numbers=DIMS, feature_group_count=groups
    )


def weights(*shapes):
    return [0.4 * jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]


def branches(w, x):
    """Strides, a cropped and a padded border, branches of different reach, a shortcut, groups, a
    dilation, both pools.
    """
    x = jax.nn.relu(conv(x, w[0], stride=2, padding=((0, 1), (2, 0))) - 0.1)
    x = jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 2), (0, 0)))
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 1, 1), ((0, 0), (1, 1), (0, 1), (0, 0)))
    a = jax.nn.silu(conv(x, w[1], dilation=2, groups=2))
    x = site("both", lambda x: x)(jnp.concatenate([a + x, conv(x, w[2])], axis=-1))
    x = lax.reduce_window(jnp.tanh(x), 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    return x.mean((1, 2)) @ w[3]


def model_of(forward, *shapes):
    return jaxlens.Model.from_function(
        forward, weights(*shapes), preprocess=lambda x: 2 * x - 1, input_size=SIZE, name="branches"
    )


@pytest.fixture(scope="module")
def branched():
    return model_of(branches, (3, 3, 3, 6), (3, 3, 3, 6), (1, 1, 6, 4), (10, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("window", "stride"), [(5, 4), ((3, 7), (2, 5)), (40, 40), (1, 1)])
@pytest.mark.parametrize("layer", [None, "both"])
def test_scores_are_those_of_full_passes(branched, window, stride, layer):
    query = ask(branched, images(2, SIZE), [0, 2], layer=layer, baseline=0.3)
    limits = query.values.shape[1:3]
    window, stride = (tuple(np.minimum(each, limits).tolist()) for each in (window, stride))
    windows = as_windows(window, stride, query)
    few = windows.total > 200
    full = masked_scores(query, windows, windows.total, batch_size=64, progress=False, label="")
    found = window_scores(query, windows, batch_size=64 if few else 7, progress=False)
    assert supports(query)
    assert_allclose(found, full, atol=2e-6 * float(jnp.abs(full).max()))
    assert float(jnp.ptp(full)) > 1e-3 * float(jnp.abs(full).max())


@pytest.mark.slow
@pytest.mark.parametrize("size", [(40, 48), (57, 43)])
def test_a_network_with_norms_and_shared_relus(size):
    query = ask(small_model(), images(1, size), 1)
    windows = as_windows((9, 6), (5, 6), query)
    full = masked_scores(query, windows, windows.total, batch_size=16, progress=False, label="")
    assert_allclose(window_scores(query, windows, batch_size=16, progress=False), full, atol=1e-6 * float(jnp.abs(full).max()))


def test_positions_that_differ_are_not_mixed_up():
    """A bias of its own at every place, and a step that looks at all of the map."""
    place = jnp.asarray(np.random.RandomState(0).randn(1, *SIZE, 6), jnp.float32)

    def forward(w, x):
        x = conv(x, w[0]) * place + place
        return (x / (1 + x.mean((1, 2), keepdims=True))).max((1, 2)) @ w[1]

    query = ask(model_of(forward, (3, 3, 3, 6), (6, 3)), images(1, SIZE), 1)
    windows = as_windows(8, 5, query)
    full = masked_scores(query, windows, windows.total, batch_size=16, progress=False, label="")
    assert_allclose(window_scores(query, windows, batch_size=16, progress=False), full, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_it_computes_less():
    """The control: far fewer operations than as many full passes."""
    query = ask(small_model(), images(1, (96, 112)), 1)
    windows, many = as_windows(8, 8, query), 32
    grid = _grid(query, windows)
    less = incremental_scores.lower(query, jnp.arange(many), grid).compile().cost_analysis()["flops"]
    repeated = query.at(jnp.zeros(many, int))
    whole = jax.jit(lambda q: q.scores(q.values)).lower(repeated).compile().cost_analysis()["flops"]
    assert less < 0.4 * whole
