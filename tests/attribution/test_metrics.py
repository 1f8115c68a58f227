"""What holds for all metrics, and those of maps alone: sparseness, complexity, pointing and
similarity.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from jaxlens.attribution import metrics as m
from jaxlens.attribution import saliency
from tests.attribution.metric_cases import NET, SMALL, H, W, draw, photos
from tests.helpers import relative_error

# ---- shape


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 7, 54])
def test_gini_and_entropy_at_both_ends(n):
    even, one = jnp.full((1, n), 0.3), jnp.zeros((1, n)).at[0, n // 2].set(-2.0)
    np.testing.assert_allclose(m.sparseness(even), 0, atol=1e-6)
    np.testing.assert_allclose(m.sparseness(one), (n - 1) / n, rtol=1e-6)
    np.testing.assert_allclose(m.complexity(even), np.log(n), rtol=1e-6)
    np.testing.assert_allclose(m.complexity(one), 0, atol=1e-6)
    np.testing.assert_allclose(m.sparseness(0 * even), 0)
    np.testing.assert_allclose(m.complexity(0 * even), np.log(n), rtol=1e-6)


def test_gini_and_entropy_equal_numpy_and_see_neither_scale_nor_sign():
    values = jax.random.normal(jax.random.key(0), (3, H, W, 2))
    v = np.abs(np.asarray(values, np.float64)).reshape(3, -1)
    gini = np.abs(v[:, :, None] - v[:, None]).sum((1, 2)) / (2 * v.shape[1] * v.sum(1))  # the mean difference, by definition
    np.testing.assert_allclose(m.sparseness(values), gini, rtol=1e-5)
    np.testing.assert_allclose(m.complexity(values), stats.entropy(v, axis=1), rtol=1e-5)
    for scale in (-1.0, 1e-30, 1e6):
        np.testing.assert_allclose(m.sparseness(scale * values), gini, rtol=1e-5)
        np.testing.assert_allclose(m.complexity(scale * values), stats.entropy(v, axis=1), rtol=1e-5)
    assert (m.sparseness(values**3) > m.sparseness(values)).all() and (m.complexity(values**3) < m.complexity(values)).all()


# ---- pointing


def test_the_point_is_in_or_out_of_the_boxes():
    values = jnp.zeros((3, H, W, 2)).at[0, 2, 5, 0].set(1).at[1, 5, 0, 1].set(1).at[2, 2, 5].set(0.5)
    boxes = jnp.asarray([[5, 2, 6, 3], [1, 0, 9, 6], [0, 0, 5, 6]])  # exactly the pixel; left of it; it is at x = 5
    np.testing.assert_array_equal(m.pointing_game(values, boxes), [1, 0, 0])
    np.testing.assert_array_equal(m.pointing_game(values, boxes, tolerance=0.5), [1, 1, 1])
    np.testing.assert_array_equal(m.pointing_game(values, boxes, tolerance=0.4), [1, 0, 0])
    several = [np.array([[0, 0, 1, 1], [5, 2, 6, 3]]), np.array([[0, 5, 1, 6]]), np.array([[0, 0, 5, 6]])]
    np.testing.assert_array_equal(m.pointing_game(values, several), [1, 1, 0])
    np.testing.assert_array_equal(m.pointing_game(values, (5, 2, 6, 3)), [1, 0, 1])
    np.testing.assert_array_equal(jax.jit(m.pointing_game)(values, boxes), [1, 0, 0])


def test_a_constant_map_gets_what_chance_gets():
    np.testing.assert_allclose(m.pointing_game(jnp.ones((1, H, W, 1)), (0, 0, 3, 2)), 6 / 54, rtol=1e-6)
    np.testing.assert_allclose(m.energy_pointing_game(jnp.ones((1, H, W, 1)), (0, 0, 3, 2)), 6 / 54, rtol=1e-6)


def test_energy_is_the_share_of_what_is_positive():
    values = jnp.zeros((2, H, W, 1)).at[0, 0, 0].set(3).at[0, 5, 8].set(1).at[0, 3, 3].set(-7)
    np.testing.assert_allclose(m.energy_pointing_game(values, (0, 0, 4, 4)), [0.75, 0])


def test_low_maps_point_in_pixels_of_the_image():
    values = jnp.zeros((1, 2, 3, 1)).at[0, 1, 2].set(1)
    assert (
        m.pointing_game(values, (12, 6, 18, 12), size=SMALL) == 1 and m.pointing_game(values, (0, 0, 12, 12), size=SMALL) == 0
    )


# ---- similarity


def test_spearman_equals_scipy_with_ties():
    a = jnp.round(draw(3, 4, 7) * 5) / 5
    b = jnp.round(draw(3, 4, 7, seed=1) * 3 + a)
    want = [stats.spearmanr(np.asarray(x).ravel(), np.asarray(y).ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(m.spearman(a, b), want, atol=1e-6)
    np.testing.assert_allclose(m.spearman(a, -a), -1, atol=1e-6)
    np.testing.assert_array_equal(m.spearman(a, 0 * a), 0)


def test_ssim_equals_the_formula():
    a, b = np.asarray(draw(2, 15, 20), np.float64), np.asarray(draw(2, 15, 20, seed=1), np.float64)
    b = 0.5 * (a + b)

    def local(x):
        return ndimage.gaussian_filter(x, (0, 1.5, 1.5), radius=(0, 5, 5))[:, 5:-5, 5:-5]

    x, y = local(a), local(b)
    xx, yy, xy = local(a * a) - x * x, local(b * b) - y * y, local(a * b) - x * y
    want = ((2 * x * y + 1e-4) * (2 * xy + 9e-4) / ((x * x + y * y + 1e-4) * (xx + yy + 9e-4))).mean((1, 2))
    a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    np.testing.assert_allclose(m.ssim(a, b), want, rtol=1e-4)
    np.testing.assert_allclose(m.ssim(a, a), 1, atol=1e-5)


# ---- what holds for all

OPTIONS = {
    "deletion": {"steps": 5},
    "insertion": {"steps": 5},
    "mu_fidelity": {"grid": 4, "samples": 11},
    "infidelity": {"grid": 4, "samples": 7},
    "road": {"fractions": (0.3, 0.6)},
    "average_drop": {},
    "average_gain": {},
    "increase_in_confidence": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_chunks_batches_and_jit_change_nothing(name):
    x, values, metric, options = photos(3), jnp.abs(draw(3, *SMALL, 1)), getattr(m, name), OPTIONS[name]
    want = metric(NET, x, values, [1, 0, 3], **options)
    others = [
        metric(NET, x, values, [1, 0, 3], batch_size=2, **options),
        jax.jit(lambda model, x, v: metric(model, x, v, jnp.array([1, 0, 3]), **options))(NET, x, values),
    ]
    alone = metric(NET, x[2:], values[2:], 3, **options)
    for other in others:
        for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
    for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a[2:] if len(a) == 3 else a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mu_fidelity", "infidelity", "road", "sensitivity_max", "stability"])
def test_the_same_key_gives_the_same_bits_and_another_does_not(name):
    x, metric = photos(2), getattr(m, name)
    arguments = (saliency, NET, x) if name in ("sensitivity_max", "stability") else (NET, x, saliency(NET, x))
    calls = [metric(*arguments, seed=key, **OPTIONS.get(name, {})) for key in (3, jax.random.key(3), 4)]
    a, b, c = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(call)]) for call in calls)
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        (lambda x: x[:1], ValueError, "one map per image"),
        (lambda x: x.at[0, 0, 0, 0].set(jnp.nan), ValueError, "values holds NaN"),
        (lambda x: x[:, :, 0], ValueError, "Tokens become a map"),
        (lambda x: (x * 10).astype(int), TypeError, "array of floats"),
        (lambda x: "saliency", TypeError, "got str"),
    ],
)
def test_values_that_are_no_maps_are_refused(values, error, match):
    x = photos(2)
    with pytest.raises(error, match=match):
        m.deletion(NET, x, values(x))


def test_other_arguments_are_refused_with_what_is_legal():
    x = photos(2)
    for call, match in (
        (lambda: m.deletion(NET, x, x, score="softmax"), "score='softmax' must be one of probability, logit"),
        (lambda: m.deletion(NET, x, x, steps=1000), "steps=1000 must be an integer in 1..216"),
        (lambda: m.insertion(NET, x, x, fraction=0.0), "fraction=0.0"),
        (lambda: m.mu_fidelity(NET, x, x, subset=1.0), "subset=1.0"),
        (lambda: m.mu_fidelity(NET, x, x, grid=13), "grid=13 must be an integer in 2..12"),
        (lambda: m.infidelity(NET, x, x, perturbation="square"), "'cells', 'noise', or changes of shape"),
        (lambda: m.infidelity(NET, x, x[..., :1], perturbation="noise"), "one number for each that changes"),
        (lambda: m.road(NET, x, x, order="most"), "order='most' must be one of combined, morf, lerf"),
        (lambda: m.pointing_game(x, (3, 3, 3, 9)), "some image has none with an area"),
        (lambda: m.pointing_game(x, np.ones((3, 4))), r"\[4\], \[2, 4\]"),
        (lambda: m.blurred(x, 0.0), "sigma=0.0"),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def test_the_attribution_object_counts_as_its_values():
    x = photos(2)
    found = saliency(NET, x)
    np.testing.assert_array_equal(m.deletion(NET, x, found).area, m.deletion(NET, x, found.values).area)
    np.testing.assert_array_equal(m.sparseness(found), m.sparseness(found.values))
    assert relative_error(m.complexity(found), m.complexity(-found.values)) < 1e-6
