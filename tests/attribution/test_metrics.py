"""Faithfulness metrics against hand-computed values, NumPy, SciPy, captum and pytorch-grad-cam."""

import captum.metrics
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from captum.metrics import infidelity_perturb_func_decorator
from pytorch_grad_cam.metrics.perturbation_confidence import RemoveLeastRelevantFirst, RemoveMostRelevantFirst
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from scipy import ndimage, stats

from jaxlens import Model, site
from jaxlens.attribution import integrated_gradients, saliency
from jaxlens.attribution import metrics as m
from jaxlens.attribution.metrics._fidelity import cells_of, random_sets
from jaxlens.optvis import objectives
from tests.helpers import relative_error

# captum and pytorch-grad-cam call NumPy's functions on PyTorch's tensors
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")

H, W = 6, 9
SMALL = (12, 18)


def _identity(x):
    return x


def _linear(params, x):
    return jnp.dot(x.reshape(x.shape[0], -1), params, precision="highest")


def _squares(params, x):
    return jnp.dot(jnp.square(x.reshape(x.shape[0], -1)), params, precision="highest")


def _constant(params, x):
    return jnp.broadcast_to(params[None], (x.shape[0], 2)) + 0 * x.sum((1, 2, 3))[:, None]


def toy(fn, params, size=(H, W), channels=1):
    return Model.from_function(fn, jnp.asarray(params, jnp.float32), preprocess=_identity, input_size=size, channels=channels)


def total(size=(H, W)):
    """Logit 0 is the sum of the pixels, logit 1 nothing."""
    return toy(_linear, np.stack([np.ones(size).ravel(), np.zeros(size).ravel()], 1), size)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random(shape, np.float32))  # JAX would compile a program per shape


def photos(count=2, seed=0):
    return draw(count, *SMALL, 3, seed=10 + seed)


def _mlp(params, x):
    hidden = jax.nn.softplus(jnp.dot(x.reshape(x.shape[0], -1), params["in"], precision="highest"))
    return site("hidden", lambda: hidden)() @ params["out"]


def _net():
    """A smooth network that compiles at once; its probabilities move well between 0 and 1."""
    keys = jax.random.split(jax.random.key(0))
    params = {"in": 0.3 * jax.random.normal(keys[0], (12 * 18 * 3, 8)), "out": jax.random.normal(keys[1], (8, 5))}
    return Model.from_function(_mlp, params, preprocess=_identity, input_size=SMALL, name="net")


NET = _net()


# ---- the score


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
    one = toy(_linear, np.ones((H * W, 1)))
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
    model, x = toy(_linear, weights, (2, 3)), jnp.ones((1, 2, 3, 1))
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
    flat = toy(_constant, [0.0, np.log(3.0)])
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


# ---- fidelity


def test_mu_fidelity_is_1_for_a_sum_and_minus_1_for_its_opposite():
    x = draw(2, H, W, 1)
    options = {"score": "logit", "grid": 3, "samples": 40}
    np.testing.assert_allclose(m.mu_fidelity(total(), x, x, 0, **options), 1, atol=1e-6)
    np.testing.assert_allclose(m.mu_fidelity(total(), x, -x, 0, **options), -1, atol=1e-6)
    shuffled = jax.random.permutation(jax.random.key(0), x.reshape(2, -1), axis=1).reshape(x.shape)
    assert (np.abs(m.mu_fidelity(total(), x, shuffled, 0, **options)) < 0.8).all()
    assert (m.mu_fidelity(total(), x, 0 * x, 0, **options) == 0).all()


def test_mu_fidelity_equals_scipy():
    x, values = photos(2), draw(2, *SMALL, 3)
    found = m.mu_fidelity(NET, x, values, [1, 3], grid=4, samples=30, seed=5)
    sets = np.asarray(random_sets(jax.random.key(5), jnp.arange(30), 16, 3))
    assert (sets.sum(1) == 3).all() and len({tuple(row) for row in sets}) > 20  # round(.2 * 16) of them, not always the same
    cells = cells_of(SMALL, 4)
    for image, label in ((0, 1), (1, 3)):
        probability = lambda x: np.asarray(jax.nn.softmax(NET(x[None]), -1))[0, label]  # noqa: B023, E731
        taken = [s[cells][..., None] for s in sets]
        drops = [probability(x[image]) - probability(x[image] * (1 - t)) for t in taken]
        sums = [(np.asarray(values[image]) * t).sum() for t in taken]
        np.testing.assert_allclose(found[image], stats.spearmanr(drops, sums).statistic, atol=1e-4)


def _torch_squares(weights):
    weights = torch.tensor(weights, dtype=torch.float64)
    return lambda x: (x.reshape(x.shape[0], -1) ** 2) @ weights


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("multiplied", [False, True])
def test_infidelity_equals_captum(normalize, multiplied):
    x, values, changes = draw(2, H, W, 1), draw(2, H, W, 1, seed=1), 0.1 * draw(2, 7, H, W, 1, seed=2)
    weights = np.asarray(draw(H * W, 2, seed=3), np.float64)
    found = m.infidelity(
        toy(_squares, weights),
        x,
        values,
        [0, 1],
        baseline=0.0,
        perturbation=changes,
        multiplied=multiplied,
        normalize=normalize,
    )

    @infidelity_perturb_func_decorator(multiply_by_inputs=multiplied)
    def perturb(inputs):
        return inputs - torch.tensor(np.asarray(changes, np.float64)).reshape(14, H, W, 1)

    options = {"target": torch.tensor([0, 1]), "n_perturb_samples": 7, "normalize": normalize}
    arrays = [torch.tensor(np.asarray(a, np.float64)) for a in (x, values)]
    want = captum.metrics.infidelity(_torch_squares(weights), perturb, *arrays, **options)
    np.testing.assert_allclose(found, want.numpy(), rtol=2e-3)


def test_infidelity_of_removing_everything_is_delta_squared():
    x = photos(3)
    start = m.blurred(x, 1.0)
    found = integrated_gradients(NET, x, baseline=start, steps=2, quadrature="left", tolerance=None)
    assert (jnp.abs(found.delta) > 1e-4).all()
    everything = (x - start)[:, None]
    infidelity = m.infidelity(NET, x, found, baseline=start, perturbation=everything)
    np.testing.assert_allclose(infidelity, jnp.square(found.delta), rtol=1e-2)


def test_infidelity_is_0_where_attributions_foretell_and_scale_counts_unless_normalised():
    weights = np.asarray(draw(H * W, 2, seed=3))
    model, x = toy(_linear, weights), draw(2, H, W, 1)
    gradient = jnp.broadcast_to(jnp.asarray(weights[:, 0]).reshape(1, H, W, 1), x.shape)
    for values, options in (
        (gradient, {"perturbation": "noise", "multiplied": False}),
        (gradient * x, {"perturbation": "cells", "grid": 3}),
        (gradient, {"perturbation": "cells", "grid": 3, "multiplied": False}),
    ):
        ask = lambda scale, normalize: np.asarray(m.infidelity(model, x, scale * values, 0, normalize=normalize, **options))  # noqa: B023, E731
        assert (ask(1.0, False) < 1e-8).all() and (ask(3.0, False) > 1e-3).all()
        assert (ask(3.0, True) < 1e-8).all()
    other = draw(2, H, W, 1, seed=9)
    a, b = (m.infidelity(model, x, scale * other, 0, grid=3, normalize=True) for scale in (1.0, -20.0))
    np.testing.assert_allclose(a, b, rtol=1e-4)
    assert (a > 1e-4).all()


# ---- sensitivity


def test_sensitivity_is_0_where_the_network_is_linear():
    weights = np.asarray(draw(H * W, 2, seed=3))
    x = draw(2, H, W, 1)
    assert (m.sensitivity_max(saliency, toy(_linear, weights), x) == 0).all()
    assert (m.stability(saliency, toy(_linear, weights), x) == 0).all()
    assert (m.sensitivity_max(saliency, toy(_squares, weights), x) > 0.005).all()


def test_sensitivity_and_stability_equal_captum_and_numpy():
    weights = np.asarray(draw(H * W, 2, seed=3), np.float64)
    model, x, near = toy(_squares, weights), 0.2 + 0.6 * draw(2, H, W, 1), []

    def recorded(model, images, target=None, **options):
        near.append(np.asarray(images))
        return saliency(model, images, target, **options)

    found = m.sensitivity_max(recorded, model, x, [0, 1], radius=0.1, samples=5, batch_size=3)
    seen = np.concatenate(near[1:])[:10]  # two images, five neighbours each; the rest is padding
    changes = seen - np.repeat(np.asarray(x), 5, 0)
    assert 0.09 < np.abs(changes).max() <= 0.1 and np.ptp(changes) > 0.18
    np.testing.assert_allclose(changes[:5], changes[5:], atol=1e-6)  # the same for both images

    both = torch.tensor(weights)
    explain = lambda x, target: (2 * x[0] * both[:, target].T.reshape(x[0].shape),)  # noqa: E731
    arrays = torch.tensor(np.asarray(x, np.float64))
    perturb = lambda x, radius: (torch.tensor(seen, dtype=torch.float64),)  # noqa: E731
    options = {"n_perturb_samples": 5, "target": torch.tensor([0, 1])}
    want = captum.metrics.sensitivity_max(explain, arrays, perturb, **options)
    np.testing.assert_allclose(found, want.numpy(), rtol=1e-4)

    gradient = np.repeat(weights.T, 5, 0).reshape(10, H, W, 1) * changes * 2
    mean = np.linalg.norm(gradient.reshape(2, 5, -1), axis=-1).mean(1)
    np.testing.assert_allclose(m.stability(saliency, model, x, [0, 1], radius=0.1, samples=5), mean, rtol=1e-4)


def test_sensitivity_takes_a_methods_options_and_keeps_the_target():
    x = photos(3)
    start = draw(*x.shape, seed=4)
    options = {"steps": 3, "tolerance": None, "samples": 4, "radius": 0.3}
    together = m.sensitivity_max(integrated_gradients, NET, x, baseline=start, batch_size=5, **options)
    alone = [
        m.sensitivity_max(integrated_gradients, NET, x[i : i + 1], baseline=start[i : i + 1], **options)[0] for i in range(3)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    seen = []

    def recorded(model, images, target=None, **options):
        seen.append(np.asarray(target.index))
        return saliency(model, images, target, **options)

    m.sensitivity_max(recorded, NET, x, radius=1.0, samples=4, batch_size=12)
    np.testing.assert_array_equal(seen[1], np.repeat(seen[0], 4))
    with pytest.raises(ValueError, match="radius=0"):
        m.stability(saliency, NET, x, radius=0)


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
    model = toy(_linear, np.stack([spot.ravel(), 0 * spot.ravel()], 1))
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
    model = toy(_linear, [[3.0, 0.0], [1.0, 0.0]], (1, 2))
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
    x, model = draw(3, H, W, 1), toy(_constant, [0.3, 1.0])
    for metric in (m.average_drop, m.average_gain, m.increase_in_confidence):
        np.testing.assert_array_equal(metric(model, x, draw(3, 2, 3, 4)), 0)


def test_drops_refuse_what_is_no_probability():
    x = photos(2)
    with pytest.raises(ValueError, match="a probability is needed"):
        m.average_drop(NET, x, x, objectives.class_logit("logits", 0) * 100.0)


# ---- shape


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
