"""Metrics that take pixels away: the score, deletion and insertion, ROAD (against pytorch-grad-
cam), average drop and gain.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.perturbation_confidence import RemoveLeastRelevantFirst, RemoveMostRelevantFirst
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from scipy import ndimage

from jaxlens.attribution import integrated_gradients
from jaxlens.attribution import metrics as m
from jaxlens.optvis import objectives
from tests.attribution.metric_cases import NET, SMALL, H, W, constant, draw, linear, photos, total, toy

# pytorch-grad-cam calls NumPy's functions on PyTorch's tensors
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")


# ---- the score


@pytest.mark.slow
def test_class_probability_is_the_softmax_and_needs_a_class_to_compare_with():
    x = photos(3)
    want = torch.softmax(torch.tensor(np.asarray(NET(x))), 1).numpy()[[0, 1, 2], [4, 0, 2]]
    query = m._inputs.metric_query(NET, x, [4, 0, 2])
    np.testing.assert_allclose(query.scores(x), want, rtol=1e-5)
    np.testing.assert_allclose(
        m._inputs.metric_query(NET, x, [4, 0, 2], "logit").scores(x), NET(x)[jnp.arange(3), jnp.array([4, 0, 2])]
    )
    top = m._inputs.metric_query(NET, x, None).scores(x)
    np.testing.assert_allclose(top, torch.softmax(torch.tensor(np.asarray(NET(x))), 1).max(1).values.numpy(), rtol=1e-5)
    named = NET.replace(labels=tuple("abcde"))
    np.testing.assert_allclose(m._inputs.metric_query(named, x, ["e", "a", "c"]).scores(x), want, rtol=1e-5)
    np.testing.assert_allclose(m._inputs.metric_query(named, x, "c").scores(x)[2], want[2], rtol=1e-5)
    assert objectives.class_probability("logits", "c").bind(named).describe() == "probability of logits:2"
    maps = {"a": draw(2, 3, 4, 3)}
    np.testing.assert_allclose(
        objectives.class_probability("a", 1)(maps),
        torch.softmax(torch.tensor(np.asarray(maps["a"])), -1)[..., 1].mean(),
        rtol=1e-5,
    )
    one = toy(linear, np.ones((H * W, 1)))
    with pytest.raises(ValueError, match="always 1"):
        m.deletion(one, draw(1, H, W, 1), draw(1, H, W, 1), 0)
    with pytest.raises(ValueError, match="is outside 0..4"):
        m.deletion(NET, x, x, 5)


def test_other_targets_are_taken_as_they_are():
    x = photos(2)
    for target in (
        "logits:2",
        objectives.channel("logits", 2),
        objectives.class_logit("logits", 2),
        lambda found: found("logits")[0, 2],
    ):
        np.testing.assert_allclose(m.deletion(NET, x, x, target, steps=2).scores[:, 0], NET(x)[:, 2], rtol=1e-5)
    assert not np.allclose(m.deletion(NET, x, x, 2, steps=2).scores[:, 0], NET(x)[:, 2], rtol=1e-2)


# ---- deletion and insertion


def test_areas_of_a_perfect_a_backward_and_an_indifferent_attribution():
    """The score is one pixel of 2 x 3: deleting that first leaves half a step of the curve."""
    weights = np.zeros((6, 2))
    weights[4, 0] = 1
    model, x = toy(linear, weights, (2, 3)), jnp.ones((1, 2, 3, 1))
    perfect = jnp.zeros((1, 2, 3, 1)).at[0, 1, 1, 0].set(1)
    options = {"steps": None, "score": "logit"}
    np.testing.assert_allclose(m.deletion(model, x, perfect, 0, **options).area, [0.5 / 6], rtol=1e-6)
    np.testing.assert_allclose(m.insertion(model, x, perfect, 0, **options).area, [5.5 / 6], rtol=1e-6)
    np.testing.assert_allclose(m.deletion(model, x, -perfect, 0, **options).area, [5.5 / 6], rtol=1e-6)
    np.testing.assert_allclose(m.insertion(model, x, -perfect, 0, **options).area, [0.5 / 6], rtol=1e-6)
    # of equal values the first pixel goes first: pixel 4 is the fifth
    curve = m.deletion(model, x, jnp.zeros((1, 2, 3, 1)), 0, **options)
    np.testing.assert_array_equal(curve.scores, [[1, 1, 1, 1, 1, 0, 0]])
    np.testing.assert_allclose(curve.fractions, np.arange(7) / 6, rtol=1e-6)


def test_curves_of_a_sum_and_of_a_constant():
    x = draw(2, H, W, 1)
    values = np.sort(np.asarray(x).reshape(2, -1))[:, ::-1]
    curve = m.deletion(total(), x, x, 0, steps=None, score="logit")
    np.testing.assert_allclose(
        curve.scores, values.sum(1, keepdims=True) - np.pad(np.cumsum(values, 1), ((0, 0), (1, 0))), atol=1e-4
    )
    flat = toy(constant, [0.0, np.log(3.0)])
    for metric in (m.deletion, m.insertion):
        np.testing.assert_allclose(metric(flat, x, x, 1, steps=7).area, 0.75, rtol=1e-6)


def test_steps_fractions_and_baselines():
    x = draw(1, H, W, 1)
    curve = m.insertion(total(), x, x, 0, steps=4, fraction=0.5, score="logit", baseline=1.0)
    counts = np.array([0, 6, 13, 20, 27])
    np.testing.assert_allclose(curve.fractions, counts / 54, rtol=1e-6)
    order = np.sort(np.asarray(x).ravel())[::-1]
    scores = [order[:n].sum() + 54 - n for n in counts]
    np.testing.assert_allclose(curve.scores[0], scores, rtol=1e-5)
    np.testing.assert_allclose(curve.area, np.trapezoid(scores, counts) / 27, rtol=1e-5)
    everything = m.insertion(total(), x, x, 0, steps=3, score="logit", baseline=m.blurred(x, 2.0))
    np.testing.assert_allclose(everything.scores[0, -1], x.sum(), rtol=1e-5)
    np.testing.assert_allclose(everything.scores[0, 0], m.blurred(x, 2.0).sum(), rtol=1e-5)


@pytest.mark.slow
def test_a_map_of_gradients_beats_the_same_shuffled():
    x = photos(4)
    found = jnp.abs(integrated_gradients(NET, x, tolerance=None).values.sum(-1, keepdims=True))
    shuffled = jax.random.permutation(jax.random.key(1), found.reshape(4, -1), axis=1).reshape(found.shape)
    good, bad = (m.deletion(NET, x, v, score="logit").area.mean() for v in (found, shuffled))
    assert good < bad - 0.02 * abs(bad)


def test_maps_of_other_sizes_are_resized_and_channels_summed():
    x, low = photos(2), draw(2, 4, 6, 3)
    full = torch.nn.functional.interpolate(torch.tensor(np.asarray(low.sum(-1)))[:, None], SMALL, mode="bilinear")[:, 0].numpy()
    np.testing.assert_allclose(m._inputs.pixel_map(low, 2, SMALL), full, atol=1e-5)
    a, b = (m.deletion(NET, x, v).scores for v in (low, jnp.asarray(full)[..., None]))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_blur_equals_scipy():
    x = photos(2)
    want = ndimage.gaussian_filter(np.asarray(x, np.float64), (0, 1.7, 1.7, 0), mode="nearest", truncate=4.0)
    np.testing.assert_allclose(m.blurred(x, 1.7), want, atol=1e-6)
    np.testing.assert_allclose(m.blurred(jnp.ones_like(x), 30.0), 1, atol=1e-6)


# ---- ROAD


def _ramp(size=(14, 19)):
    y, x = np.mgrid[: size[0], : size[1]] / max(size)
    return np.stack([0.1 + 0.5 * y + 0.3 * x, 0.9 - 0.4 * y - 0.2 * x, 0.5 + 0.1 * x], -1).astype(np.float32)


def test_imputation_reproduces_a_ramp_away_from_the_border():
    ramp, keep = _ramp(), np.ones((14, 19), bool)
    keep[2:12, 3:15] = False
    found = m.noisy_linear_imputation(jnp.asarray(ramp)[None], keep, noise=0.0)[0]
    np.testing.assert_allclose(found, ramp, atol=1e-5)
    keep[:] = True
    keep[5:, 3:15] = False  # control: at the border neighbours are missing
    assert np.abs(m.noisy_linear_imputation(jnp.asarray(ramp)[None], keep, noise=0.0)[0] - ramp).max() > 0.01


@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_imputation_equals_grad_cams(share):
    x = np.asarray(draw(2, 14, 19, 3))
    keep = np.asarray(draw(2, 14, 19, seed=3)) > share
    found = m.noisy_linear_imputation(x, keep, noise=0.0)
    for image in range(2):
        tensor = torch.tensor(np.moveaxis(x[image], -1, 0).copy())
        want = NoisyLinearImputer(noise=0)(tensor, torch.tensor(keep[image].astype(np.float32))).numpy()
        np.testing.assert_allclose(found[image], np.moveaxis(want, 0, -1), atol=1e-5)
    # what is kept is not touched, and each image is solved by itself
    np.testing.assert_array_equal(np.asarray(found)[keep], x[keep])
    np.testing.assert_allclose(m.noisy_linear_imputation(x[:1], keep[0], noise=0.0)[0], found[0], atol=1e-6)


def test_imputation_adds_noise_where_pixels_are_gone():
    x, keep = jnp.full((1, 40, 50, 3), 0.5), jnp.zeros((40, 50), bool).at[:4].set(True)
    found = np.asarray(m.noisy_linear_imputation(x, keep, noise=0.03, seed=1))[0]
    assert (found[:4] == 0.5).all()
    np.testing.assert_allclose(found[4:].std(), 0.03, rtol=0.05)
    with pytest.raises(ValueError, match="nothing to fill it from"):
        m.noisy_linear_imputation(x, jnp.zeros((40, 50)))


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_road_equals_grad_cams_removal(order):
    x, values, fractions = photos(2), draw(2, *SMALL, 1, seed=2), (0.25, 0.5, 0.75)  # whole numbers of pixels
    curve = m.road(NET, x, values, [1, 3], order=order, fractions=fractions, noise=0.0)
    for column, fraction in enumerate(fractions):
        remove = (RemoveMostRelevantFirst if order == "morf" else RemoveLeastRelevantFirst)(
            100 * (1 - fraction), NoisyLinearImputer(noise=0)
        )
        filled = [
            remove(torch.tensor(np.moveaxis(np.asarray(x[i]), -1, 0).copy()), torch.tensor(np.asarray(values[i, ..., 0])))
            for i in (0, 1)
        ]
        probabilities = jax.nn.softmax(NET(jnp.asarray(np.moveaxis(torch.stack(filled).numpy(), 1, -1))), -1)
        np.testing.assert_allclose(curve.scores[:, column], probabilities[jnp.arange(2), jnp.array([1, 3])], rtol=1e-4)
    np.testing.assert_allclose(curve.fractions, fractions)


def test_combined_road_is_half_the_difference_and_its_sign_says_what_is_good():
    spot = np.zeros((H, W), np.float32)
    spot[2:4, 4:7] = 1
    model = toy(linear, np.stack([spot.ravel(), 0 * spot.ravel()], 1))
    x, values = jnp.asarray(spot)[None, ..., None], jnp.asarray(spot)[None, ..., None]
    options = {"fractions": (0.2, 0.5), "noise": 0.0, "score": "logit"}
    curves = {order: m.road(model, x, values, 0, order=order, **options) for order in ("morf", "lerf", "combined")}
    np.testing.assert_allclose(curves["combined"].scores, (curves["lerf"].scores - curves["morf"].scores) / 2, atol=1e-6)
    np.testing.assert_allclose(curves["combined"].area, curves["combined"].scores.mean(1), rtol=1e-6)
    np.testing.assert_allclose(curves["morf"].scores, 0, atol=1e-6)  # nothing of the spot is left to fill it from
    np.testing.assert_allclose(curves["lerf"].scores, 6, rtol=1e-6)
    np.testing.assert_allclose(m.road(model, x, -values, 0, **options).area, -curves["combined"].area, atol=1e-5)
    with pytest.raises(ValueError, match="fractions"):
        m.road(model, x, values, 0, fractions=(0.5, 1.0))


# ---- average drop, increase, gain


def test_drops_by_hand():
    """Two logits a and 0 of two pixels: p = 1 / (1 + exp(-a)); the mask of |(-2, 4)| is (0, 1)."""
    model = toy(linear, [[3.0, 0.0], [1.0, 0.0]], (1, 2))
    x, values = jnp.asarray([0.5, 1.0]).reshape(1, 1, 2, 1), jnp.asarray([-2.0, 4.0]).reshape(1, 1, 2, 1)
    p = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    np.testing.assert_allclose(m.average_drop(model, x, values, 0), (p(2.5) - p(1.0)) / p(2.5), rtol=1e-5)
    assert m.average_gain(model, x, values, 0) == 0 and m.increase_in_confidence(model, x, values, 0) == 0
    # of the other class the same masks are a gain
    assert m.average_drop(model, x, values, 1) == 0 and m.increase_in_confidence(model, x, values, 1) == 1
    np.testing.assert_allclose(m.average_gain(model, x, values, 1), (p(-1.0) - p(-2.5)) / (1 - p(-2.5)), rtol=1e-5)
    # with a white baseline the masked pixel is 1
    np.testing.assert_allclose(m.average_gain(model, x, values, 0, baseline=1.0), (p(4.0) - p(2.5)) / (1 - p(2.5)), rtol=1e-4)


def test_a_constant_network_drops_and_gains_nothing():
    x, model = draw(3, H, W, 1), toy(constant, [0.3, 1.0])
    for metric in (m.average_drop, m.average_gain, m.increase_in_confidence):
        np.testing.assert_array_equal(metric(model, x, draw(3, 2, 3, 4)), 0)


def test_drops_refuse_what_is_no_probability():
    x = photos(2)
    with pytest.raises(ValueError, match="a probability is needed"):
        m.average_drop(NET, x, x, objectives.class_logit("logits", 0) * 100.0)
