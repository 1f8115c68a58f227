"""RISE, Sobol indices and HSIC: exact designs, published values, definitions written out, planted
answers.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import qmc

from jaxlens.attribution._query import ask
from jaxlens.attribution.perturbation._features import grid_features
from jaxlens.attribution.perturbation._hsic import dependence, hsic
from jaxlens.attribution.perturbation._masked import GivenMasks
from jaxlens.attribution.perturbation._rise import SmoothMasks, rise, visible_means
from jaxlens.attribution.perturbation._sobol import opacities, sobol, total_indices
from tests.attribution.toys import image, linear, net, pictures, vector_model

WEIGHTS = np.array([2.0, -1, 0.5, 3, 0, -2])


def test_rise_of_a_linear_score_by_all_masks():
    """`(1 - p) w x + p f(x)`, for every pixel its own mask."""
    x = np.array([[0.2, 0.5, 1, 0.1, 0.7, 0.3], [0.9, 0, 0.4, 0.6, 0.1, 0.8]])
    query = ask(linear(WEIGHTS), image(x, scale=1), 1)
    every = np.array(list(itertools.product([0.0, 1.0], repeat=6)), np.float32)[:, None, :, None]
    found = visible_means(query, GivenMasks(each=jnp.asarray(every)), (1, 6, 1), 64, batch_size=7, progress=False)
    score = (x * WEIGHTS).sum(1, keepdims=True)
    np.testing.assert_allclose(found[:, 0, :, 0], 0.5 * WEIGHTS * x + 0.5 * score, atol=1e-6)
    some = visible_means(query, GivenMasks(each=jnp.asarray(every[:40])), (1, 6, 1), 40, batch_size=7, progress=False)
    assert abs(some - found).max() > 0.1
    never = visible_means(query, GivenMasks(each=jnp.zeros((3, 1, 6, 1))), (1, 6, 1), 3, batch_size=7, progress=False)
    assert (np.asarray(never) == 0).all()


@pytest.mark.parametrize("size, cells", [((9, 13), (2, 3)), ((5, 4), (1, 7))])
def test_masks_of_rise_are_enlarged_and_cropped(size, cells):
    """The same draws enlarged by PyTorch."""
    torch = pytest.importorskip("torch")
    query = ask(net(), pictures(1), 0)
    masks = SmoothMasks(key=jax.random.key(4), p=jnp.asarray(0.3), cells=cells)
    mask = jax.jit(masks.mask, static_argnums=1)
    step = [-(-length // n) for length, n in zip(size, cells, strict=True)]
    shifts = set()
    for number in range(4):
        draws = np.array(jax.random.uniform(jax.random.fold_in(masks.key, number), (2 + cells[0] * cells[1],)))
        grid = (draws[2:] < 0.3).astype(np.float32).reshape(cells)
        big = [s * (n + 1) for s, n in zip(step, cells, strict=True)]
        whole = torch.nn.functional.interpolate(torch.from_numpy(grid)[None, None], big, mode="bilinear")[0, 0].numpy()
        top, left = (int(draw * s) for draw, s in zip(draws[:2], step, strict=True))
        shifts.add((top, left))
        expected = whole[top : top + size[0], left : left + size[1]]
        np.testing.assert_allclose(mask(number, size), expected, atol=1e-6)
    assert len(shifts) > 1
    many = jax.jit(masks.masks)(query, jnp.zeros(400, int), jnp.arange(400))
    assert many.shape == (400, 8, 12, 1) and many.min() >= 0 and many.max() <= 1
    assert abs(many.mean((0, 3)) - 0.3).max() < 0.1


def test_rise_is_the_mean_over_its_masks():
    model, images = net(), pictures()
    found = rise(model, images, 1, samples=30, cells=(2, 3), seed=2, baseline=0.5, batch_size=7).values
    masks = SmoothMasks(key=jax.random.key(2), p=jnp.asarray(0.5), cells=(2, 3))
    each = np.asarray(jax.jit(masks.masks)(ask(model, images, 1), jnp.zeros(30, int), jnp.arange(30)))
    scores = np.stack([model(jnp.asarray(m * images + (1 - m) * 0.5))[:, 1] for m in each[:, None]])
    expected = np.einsum("sb,shwc->bhwc", scores, each) / each.sum(0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def only(rows, columns):
    """A score that reads one part of images 8x12, and a large constant."""

    def fn(x):
        images = x.reshape(-1, 8, 12)
        return 1000 + 5 * jnp.tanh(images[:, rows, columns].mean((1, 2)))[:, None]

    return vector_model(fn, 96, 1.0).replace(input_size=(8, 12))


@pytest.mark.slow
def test_planted_part_is_found():
    """The other cells do nothing: a map that is bright elsewhere is wrong. The constant changes
    nothing.
    """
    model, images = only(slice(4, 8), slice(8, 12)), jax.random.uniform(jax.random.key(0), (2, 8, 12, 1), minval=0.5)
    with jax.default_matmul_precision("highest"):
        seen = rise(model, images, 0, samples=600, cells=(2, 3)).values
        varying = sobol(model, images, 0, cells=(2, 3), designs=32).values
        together = hsic(model, images, 0, cells=(2, 3), samples=200).values
    far = seen[:, :3, :5]  # a grid's cell away
    assert (far.std((1, 2, 3)) < 0.1 * (seen[:, 6, 10, 0] - far.mean((1, 2, 3)))).all()
    assert all(int(each.argmax()) % 12 >= 8 and int(each.argmax()) // 12 >= 4 for each in seen)
    planted = np.array([[False, False, False], [False, False, True]])
    assert varying.shape == together.shape == (2, 2, 3, 1)
    assert abs(varying[:, ~planted]).max() < 1e-6 and (abs(varying[:, planted] - 1) < 0.3).all()
    assert (abs(together[:, ~planted]) < 0.03 * together[:, planted].min()).all() and (together[:, planted] > 0.05).all()


def test_sobol_indices_of_ishigami():
    def ishigami(u):
        x = (2 * np.asarray(u, np.float64) - 1) * np.pi
        return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])

    def indices(a, b, scale=1.0, shift=0.0):
        mixed = np.stack([ishigami(np.where(np.arange(3) == i, b, a)) for i in range(3)])
        return total_indices(*(jnp.asarray(scale * y + shift, jnp.float32)[None] for y in (ishigami(a), ishigami(b), mixed)))

    points = qmc.Sobol(6, rng=0).random_base2(15)
    found = indices(points[:, :3], points[:, 3:])
    np.testing.assert_allclose(found, [[0.55759, 0.44241, 0.24368]], atol=1e-3)
    np.testing.assert_allclose(indices(points[:, :3], points[:, 3:], -3, 40), found, atol=1e-4)
    np.testing.assert_allclose(indices(*opacities(jax.random.key(0), 2**15, 3)), found, atol=0.01)
    constant = total_indices(jnp.full((1, 8), 1e6), jnp.full((1, 8), 1e6), jnp.full((1, 3, 8), 1e6))
    assert np.asarray(constant).tolist() == [[0, 0, 0]]


@pytest.mark.slow
def test_sobol_of_linear_and_constant_scores():
    """`w**2 / sum w**2` of what each cell can change; a score that never changes gives 0."""
    x = np.array([0.2, 0.5, 1, 0.1, 0.7, 0.3])
    found = sobol(linear(WEIGHTS), image(x, scale=1), 1, cells=(1, 6), designs=256, baseline=0.4).values[0, 0, :, 0]
    share = (WEIGHTS * (x - 0.4)) ** 2
    np.testing.assert_allclose(found, share / share.sum(), atol=0.05)
    np.testing.assert_allclose(found / found.sum(), share / share.sum(), atol=0.002)  # without the variance's error
    assert found[4] == 0
    constant = sobol(linear(np.zeros(6), 3.0), image(x, scale=1), 1, cells=(1, 3), designs=4).values
    assert (np.asarray(constant) == 0).all()


def test_opacities_are_even_and_independent():
    """Every box of 1/32 of the square of a cell's two opacities holds one of 32 points; random
    points do not achieve that.
    """

    def even(points):
        boxes = [(2**i, 2 ** (5 - i)) for i in range(6)]
        return all(len(np.unique(np.floor(points * box) @ [32, 1])) == 32 for box in boxes)

    a, b = map(np.asarray, opacities(jax.random.key(1), 32, 40))
    assert a.shape == b.shape == (32, 40) and min(a.min(), b.min()) >= 0 and max(a.max(), b.max()) < 1
    assert all(even(np.stack(pair, 1)) for pair in zip(a.T, b.T, strict=True))
    assert not even(np.asarray(jax.random.uniform(jax.random.key(1), (32, 2)))) and not even(np.stack([a[:, 0], b[:, 1]], 1))
    assert not np.array_equal(a, opacities(jax.random.key(2), 32, 40)[0])
    together = np.corrcoef(np.concatenate([a, b], 1).T) - np.eye(80)
    assert abs(together).max() < 0.75 and abs(together).mean() < 0.2  # as of independent numbers, 0.14
    assert abs(a.mean() - 0.5) < 0.01 and len(np.unique(a)) == 1280  # below the net's resolution they are random


@pytest.mark.parametrize("method", ["ours", "random"])
def test_sobol_with_few_designs(method):
    """The 64 indices of a linear score from the default 32 designs, against independent numbers."""
    weights, errors = np.random.default_rng(0).normal(size=64), []
    for key in range(5):
        a, b = map(np.asarray, opacities(jax.random.key(key), 32, 64))
        if method == "random":
            a, b = np.random.default_rng(key).uniform(size=(2, 32, 64))
        mixed = np.stack([np.where(np.arange(64) == i, b, a) @ weights for i in range(64)])
        found = total_indices(*(jnp.asarray(each, jnp.float32)[None] for each in (a @ weights, b @ weights, mixed)))[0]
        errors.append(abs(found - weights**2 / (weights**2).sum()).mean() * 64)
    assert (np.mean(errors) < 0.15) == (method == "ours")


def definition(mask, y, unbiased):
    """HSIC with whole matrices (Gretton et al. 2005; Song et al. 2012)."""
    count = len(y)
    gap = np.abs(y[:, None] - y[None])
    width = np.median(gap[np.triu_indices(count, 1)])
    k, m = (mask[:, None] == mask[None]).astype(float), np.exp(-((gap / width) ** 2) / 2)
    if not unbiased:
        h = np.eye(count) - 1 / count
        return np.trace(k @ h @ m @ h) / (count - 1) ** 2
    np.fill_diagonal(k, 0), np.fill_diagonal(m, 0)
    terms = np.trace(k @ m) + k.sum() * m.sum() / (count - 1) / (count - 2) - 2 / (count - 2) * (k @ m).sum()
    return terms / count / (count - 3)


@pytest.mark.parametrize("unbiased", [True, False])
def test_hsic_is_its_definition(unbiased):
    rng = np.random.default_rng(0)
    masks = (rng.uniform(size=(40, 5)) < 0.5).astype(np.float32)
    y = np.stack([rng.normal(size=40) + 2 * masks[:, 1], 50 * masks[:, 0] * masks[:, 3] + rng.normal(size=40)]).astype(
        np.float32
    )
    found = np.asarray(dependence(jnp.asarray(masks), jnp.asarray(y), unbiased))
    expected = [[definition(mask, each.astype(np.float64), unbiased) for mask in masks.T] for each in y]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found[0].argmax() == 1 and set(np.argsort(-found[1])[:2]) == {0, 3}

    order = rng.permutation(5)
    np.testing.assert_allclose(dependence(jnp.asarray(masks[:, order]), jnp.asarray(y), unbiased), found[:, order], atol=1e-6)
    np.testing.assert_allclose(dependence(jnp.asarray(masks), jnp.asarray(7 * y), unbiased), found, atol=2e-6)
    still = dependence(jnp.asarray(masks), jnp.full((2, 40), 3.0), unbiased)
    np.testing.assert_allclose(still, np.zeros((2, 5)), atol=1e-7)
    shown = dependence(jnp.ones((40, 5)), jnp.asarray(y), unbiased)
    np.testing.assert_allclose(shown, np.zeros((2, 5)), atol=1e-6)
    rare = np.zeros((2, 40), np.float32)  # most outputs are equal, so that their median distance is 0
    rare[0, :6] = 5
    assert np.isfinite(dependence(jnp.asarray(masks), jnp.asarray(rare), unbiased)).all()


def test_unbiased_means_unbiased():
    masks = jax.random.bernoulli(jax.random.key(0), 0.5, (20, 200)).astype(jnp.float32)
    y = jax.random.normal(jax.random.key(1), (10, 20))
    plain, fair = (np.asarray(dependence(masks, y, unbiased)).mean() for unbiased in (False, True))
    assert abs(fair) < 0.1 * plain and plain > 0.005


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, x: rise(m, x, 1, p=1.0), "p=1.0 must be in 0.001..0.999"),
        (lambda m, x: rise(m, x, 1, samples=0), "samples=0"),
        (lambda m, x: rise(m, x, 1, cells=0), "cells=0"),
        (lambda m, x: rise(m, x, 1, layer="vector"), r"layer='vector' outputs \(5,\).*rise lays a grid on maps"),
        (lambda m, x: sobol(m, x, 1, designs=12), "designs=12 must be a power of 2"),
        (lambda m, x: sobol(m, x, 1, cells=9), "cells=9 must be an integer in 1..8"),
        (lambda m, x: sobol(m, x, 1, layer="vector"), "sobol lays a grid on maps"),
        (lambda m, x: hsic(m, x, 1, cells=(2, 13)), "cells=13 must be an integer in 1..12"),
        (lambda m, x: hsic(m, x, 1, samples=3), "samples=3"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call(net(), pictures())


@pytest.mark.slow
def test_cells_are_those_of_the_grid():
    """A cell of Sobol and HSIC is the same pixels as the feature of that number."""
    grid = grid_features((5, 7), (2, 3))
    images = jnp.asarray([grid == cell for cell in range(6)], jnp.float32)[..., None]
    model = vector_model(lambda x: x.sum(1, keepdims=True), 35, 1.0).replace(input_size=(5, 7))
    for found in (hsic(model, images, 0, cells=(2, 3), samples=40), sobol(model, images, 0, cells=(2, 3), designs=4)):
        assert found.values.reshape(6, 6).argmax(1).tolist() == list(range(6))
