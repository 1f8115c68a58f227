"""LIME, KernelSHAP and Shapley values: published numbers, scikit-learn, all orders in Python, and
properties.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens.attribution.perturbation import _surrogate as surrogate
from jaxlens.attribution.perturbation._features import grid_features
from jaxlens.attribution.perturbation._shapley import exact_shares, shapley_sampling, shapley_values
from jaxlens.attribution.perturbation._surrogate import (
    all_masks,
    coalitions,
    constrained_fit,
    kernel_shap,
    lime,
    linear_fit,
    size_law,
)
from tests.attribution.toys import image, kinked_model, linear, multi_layer, net, pictures

BOTH = [shapley_values, kernel_shap]  # exact where all coalitions fit
PAIR = np.array([[0, 0, 1]])


def flat(attribution):
    return np.asarray(attribution.values[:, 0, :, 0])


@pytest.mark.slow
@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(
    "x, options, expected",
    [
        ((20, 50, 30), {}, [76 + 2 / 3, 196 + 2 / 3, 116 + 2 / 3]),
        ((2, 10, 3), {}, [7, 32.5, 10.5]),
        ((20, 50, 30), {"features": PAIR}, [275, 275, 115]),
        ((2, 10, 3), {"features": PAIR}, [39.5, 39.5, 10.5]),
        ((20, 50, 30), {"features": PAIR, "baseline": 4 / 128}, [248, 248, 104]),
        ((20, 50, 30), {"baseline": np.array([[[10], [20], [10]]]) / 128}, [40, 120, 80]),
        ((20, 50, 30), {"features": [[0, 0, 0]]}, [390, 390, 390]),  # one feature, captum's 0 / 0
        ((20, 50, 30), {"features": [[0, -1, 1]]}, [80, 0, 120]),  # what is in no feature stays
    ],
)
def test_shapley_values_of_captums_toy(method, x, options, expected):
    found = method(multi_layer(), image(x), 0, **options)
    np.testing.assert_allclose(flat(found), [expected], rtol=2e-6)
    assert abs(found.delta).max() < 1e-4
    first = np.unique(options.get("features", [[0, 1, 2]]), return_index=True)[1]
    shares = np.asarray(expected)[first].sum()
    np.testing.assert_allclose(found.scores - found.baseline_scores, [shares], rtol=1e-6)


@pytest.mark.parametrize("method", [*BOTH, shapley_sampling])
def test_shapley_values_of_the_kinked_function(method):
    """Ablation gives [2, 1.5] and integrated gradients [.75, 1.25] here; both orders are a reversed
    pair.
    """
    options = {"permutations": 2} if method is shapley_sampling else {}
    np.testing.assert_allclose(flat(method(kinked_model(), image([3, 1], scale=4), 0, **options)), [[1.25, 0.75]], atol=1e-6)


def by_orders(worth, features):
    """The Shapley values by their definition, from the worth of every set."""
    shares = np.zeros(features)
    orders = list(itertools.permutations(range(features)))
    for order in orders:
        for place, feature in enumerate(order):
            shares[feature] += worth[frozenset(order[: place + 1])] - worth[frozenset(order[:place])]
    return shares / len(orders)


def test_random_games_by_all_orders():
    features, rng = 5, np.random.default_rng(0)
    found = rng.normal(size=(2, 2**features)).astype(np.float32) + 3
    sets = [frozenset(np.flatnonzero(mask)) for mask in np.asarray(all_masks(features))]
    expected = [by_orders(dict(zip(sets, game, strict=True)), features) for game in found]
    np.testing.assert_allclose(exact_shares(jnp.asarray(found)), expected, atol=1e-5)
    design, weights = coalitions(jax.random.key(0), 2**features - 2, features)
    order = [sets.index(frozenset(np.flatnonzero(mask))) for mask in np.asarray(design)]
    np.testing.assert_allclose(constrained_fit(design, jnp.asarray(found[:, order]), weights), expected, atol=1e-5)
    wrong = constrained_fit(design, jnp.asarray(found[:, order]), weights.at[2:].set(1.0))
    assert abs(wrong - np.asarray(expected)).max() > 0.05  # with equal weights it is another value


FEATURES = grid_features((8, 12), (2, 3))


def test_enumeration_is_exact_on_a_network():
    model, images = net(), pictures()
    exact = shapley_values(model, images, [0, 3], features=FEATURES)
    fitted = kernel_shap(model, images, [0, 3], features=FEATURES, samples=62)
    np.testing.assert_allclose(fitted.values, exact.values, atol=2e-5)
    assert exact.values.shape == (2, 8, 12, 1)
    ends = [model(x)[np.arange(2), np.array([0, 3])] for x in (images, jnp.zeros_like(images))]
    np.testing.assert_allclose(exact.scores, ends[0], rtol=1e-5)
    np.testing.assert_allclose(exact.baseline_scores, ends[1], rtol=1e-5)
    cells = np.asarray(exact.values)[:, ::4, ::4, 0].sum((1, 2))
    np.testing.assert_allclose(cells, ends[0] - ends[1], atol=1e-5)


@pytest.mark.slow
def test_samples_come_near_the_exact_values_and_add_up():
    model, images = net(), pictures()
    exact = shapley_values(model, images, 1, features=FEATURES).values
    scale = float(abs(exact).max())
    for method, few, many in (
        (kernel_shap, {"samples": 20}, {"samples": 60}),
        (shapley_sampling, {"permutations": 2}, {"permutations": 100}),
    ):
        near, far = (method(model, images, 1, features=FEATURES, seed=3, **o) for o in (many, few))
        assert abs(near.values - exact).max() < 0.1 * scale, method
        assert abs(near.values - exact).max() < abs(far.values - exact).max(), method
        for found in (near, far):
            assert abs(found.delta).max() < 1e-5, method
            np.testing.assert_allclose(
                found.values[:, ::4, ::4].sum((1, 2, 3)), found.scores - found.baseline_scores, atol=1e-5
            )


def test_every_second_order_is_a_reversed_one():
    """For pairs of features that only meet in twos, an order and its reverse are exact."""
    model, images = kinked_model(), image([[3, 1], [1, 3]], scale=4)
    exact = flat(shapley_values(model, images, 0))
    for key in range(3):
        np.testing.assert_allclose(flat(shapley_sampling(model, images, 0, permutations=2, seed=key)), exact, atol=1e-6)
    alone = [flat(shapley_sampling(model, images, 0, permutations=2, seed=key, antithetic=False)) for key in range(4)]
    assert any(abs(each - exact).max() > 0.1 for each in alone)


def test_sizes_of_coalitions():
    np.testing.assert_allclose(size_law(5), [1, 2 / 3, 2 / 3, 1])
    design, weights = coalitions(jax.random.key(1), 20000, 15)
    assert design[0].sum() == 0 and design[1].sum() == 15 and weights[:2].sum() == 0
    drawn = np.asarray(design[2:])
    np.testing.assert_array_equal(drawn[0::2], 1 - drawn[1::2])
    sizes = np.bincount(drawn.sum(1).astype(int), minlength=16)
    law = size_law(15) / size_law(15).sum()
    assert sizes[0] == sizes[15] == 0 and abs(sizes[1:15] / 20000 - law).max() < 0.012
    assert abs(law - 1 / 14).max() > 0.05  # not the same as equal chances
    assert abs(drawn.mean(0) - 0.5).max() < 0.02
    whole = coalitions(jax.random.key(1), 30, 5)[0]
    assert len({tuple(mask) for mask in np.asarray(whole)}) == 32


@pytest.mark.parametrize("penalty, alpha, expected", [
    ("lasso", 1.0, [73.5, 193.5, 113.5]),
    ("lasso", 0.01, [77.46, 197.46, 117.46]),
    ("ridge", 1e-7, [77.5, 197.5, 117.5]),
])  # fmt: skip
def test_lime_of_captums_toy(penalty, alpha, expected):
    """The whole design of 8 masks, which `lime` takes by itself, with uniform weights."""
    design = all_masks(3)
    found = multi_layer()(image(np.asarray(design) * [20, 50, 30]))[:, 0]
    np.testing.assert_allclose(linear_fit(design, found[None], jnp.ones(8), penalty, alpha), [expected], atol=2e-3)
    whole = lime(multi_layer(), image([20, 50, 30]), 0, penalty=penalty, alpha=alpha, width=1e4)
    np.testing.assert_allclose(flat(whole), [expected], atol=2e-3)


@pytest.mark.parametrize("alpha, expected", [(1.0, [73.5040, 193.5001, 113.5019]), (0.01, [77.4667, 197.4641, 117.4655])])
def test_lime_with_captums_kernel(alpha, expected):
    """Its cosine distance is between the images, and its width 10 is our 10 sqrt(2)."""
    design, x = np.asarray(all_masks(3), np.float64), np.array([20.0, 50, 30])
    norms = np.maximum(np.linalg.norm(design * x, axis=1) * np.linalg.norm(x), 1e-12)
    weights = jnp.asarray(np.exp(-np.square(1 - (design * x) @ x / norms) / 200), jnp.float32)
    found = multi_layer()(image(design * x))[:, 0]
    fitted = linear_fit(all_masks(3), found[None], weights, "lasso", alpha)
    np.testing.assert_allclose(fitted, [expected], atol=5e-4)


@pytest.mark.parametrize("penalty", ["ridge", "lasso"])
def test_fits_are_scikit_learns(penalty):
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    design = (rng.uniform(size=(60, 9)) < 0.5).astype(np.float32)
    design[:, 4] = 1  # a feature that never changes
    outputs, weights = rng.normal(size=(3, 60)) + 5, rng.uniform(0.1, 2, 60)
    outputs += 2 * design[:, 1]
    alpha = 0.05
    theirs = {
        "ridge": linear_model.Ridge(alpha * weights.sum(), solver="svd"),
        "lasso": linear_model.Lasso(alpha, tol=1e-10, max_iter=10000),
    }[penalty]
    expected = np.stack([theirs.fit(design.astype(np.float64), each, sample_weight=weights).coef_ for each in outputs])
    args = (jnp.asarray(design), jnp.asarray(outputs, jnp.float32), jnp.asarray(weights, jnp.float32))
    np.testing.assert_allclose(linear_fit(*args, penalty, alpha), expected, atol=2e-5)
    assert abs(expected[:, 4]).max() < 1e-12 and abs(expected).max() > 0.5
    assert (penalty == "lasso") == bool((np.delete(expected, 4, 1) == 0).any())
    assert abs(linear_fit(args[0], args[1], jnp.ones(60), penalty, alpha) - expected).max() > 0.01


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_lime_of_a_linear_score(distance):
    """Without a penalty, whatever the kernel: `w (x - b)`."""
    weights = np.linspace(-2, 3, 14)
    x = np.random.default_rng(0).uniform(size=(2, 14))
    model, images = linear(weights, 7.0), image(x, scale=1)
    found = lime(model, images, 1, samples=200, alpha=1e-9, distance=distance, baseline=0.25)
    np.testing.assert_allclose(flat(found), weights * (x - 0.25), atol=1e-4)
    assert found.delta is None and abs(flat(lime(model, images, 1, samples=200, alpha=0.1)) - flat(found)).max() > 0.1


def test_kernel_of_lime():
    design = jnp.asarray([[1.0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(surrogate.proximity(design, "cosine", 0.5), np.exp([0, -0.25 / 0.25, -1 / 0.25]), rtol=1e-6)
    np.testing.assert_allclose(surrogate.proximity(design, "l2", 2.0), np.exp([0, -3 / 4, -4 / 4]), rtol=1e-6)
    far = surrogate.proximity(design[1:], "l2", 0.01)  # nothing is near: the nearest count, and nothing is 0 / 0
    np.testing.assert_allclose(far, [1, 0], atol=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, x: shapley_values(m, x, 1), "288 values .* but 12 is the most"),
        (lambda m, x: shapley_values(m, x, 1, features=grid_features((8, 12), (2, 7))), "14 features.*shapley_sampling"),
        (lambda m, x: kernel_shap(m, x, 1, features=grid_features((8, 12), 8), samples=127), "at least 128"),
        (lambda m, x: kernel_shap(m, x, 1, features=FEATURES, samples=0), "samples=0"),
        (lambda m, x: shapley_sampling(m, x, 1, features=FEATURES, permutations=0), "permutations=0"),
        (lambda m, x: lime(m, x, 1, features=FEATURES, alpha=0.0), "alpha=0.0 must be a number > 0"),
        (lambda m, x: lime(m, x, 1, features=FEATURES, width=-1.0), "width=-1.0 must be a number > 0"),
        (lambda m, x: lime(m, x, 1, features=FEATURES, samples=1), "samples=1"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call(net(), pictures())
