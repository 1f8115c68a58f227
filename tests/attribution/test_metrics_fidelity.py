"""Fidelity, infidelity, sensitivity and stability against hand-computed values, NumPy, SciPy and
captum.
"""

import captum.metrics
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from captum.metrics import infidelity_perturb_func_decorator
from scipy import stats

from jaxlens.attribution import integrated_gradients, saliency
from jaxlens.attribution import metrics as m
from jaxlens.attribution.metrics._fidelity import pixel_cells, random_sets
from tests.attribution.metric_cases import NET, SMALL, H, W, draw, linear, photos, squares, total, toy

# captum calls NumPy's functions on PyTorch's tensors
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")


# ---- fidelity


@pytest.mark.slow
def test_mu_fidelity_is_1_for_a_sum_and_minus_1_for_its_opposite():
    x = draw(2, H, W, 1)
    options = {"score": "logit", "grid": 3, "samples": 40}
    np.testing.assert_allclose(m.mu_fidelity(total(), x, x, 0, **options), 1, atol=1e-6)
    np.testing.assert_allclose(m.mu_fidelity(total(), x, -x, 0, **options), -1, atol=1e-6)
    shuffled = jax.random.permutation(jax.random.key(0), x.reshape(2, -1), axis=1).reshape(x.shape)
    assert (np.abs(m.mu_fidelity(total(), x, shuffled, 0, **options)) < 0.8).all()
    assert (m.mu_fidelity(total(), x, 0 * x, 0, **options) == 0).all()


@pytest.mark.slow
def test_mu_fidelity_equals_scipy():
    x, values = photos(2), draw(2, *SMALL, 3)
    found = m.mu_fidelity(NET, x, values, [1, 3], grid=4, samples=30, seed=5)
    sets = np.asarray(random_sets(jax.random.key(5), jnp.arange(30), 16, 3))
    assert (sets.sum(1) == 3).all() and len({tuple(row) for row in sets}) > 20  # round(.2 * 16) of them, not always the same
    cells = pixel_cells(SMALL, 4)
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
        toy(squares, weights),
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
    model, x = toy(linear, weights), draw(2, H, W, 1)
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


@pytest.mark.slow
def test_sensitivity_is_0_where_the_network_is_linear():
    weights = np.asarray(draw(H * W, 2, seed=3))
    x = draw(2, H, W, 1)
    assert (m.sensitivity_max(saliency, toy(linear, weights), x) == 0).all()
    assert (m.stability(saliency, toy(linear, weights), x) == 0).all()
    assert (m.sensitivity_max(saliency, toy(squares, weights), x) > 0.005).all()


@pytest.mark.slow
def test_sensitivity_and_stability_equal_captum_and_numpy():
    weights = np.asarray(draw(H * W, 2, seed=3), np.float64)
    model, x, near = toy(squares, weights), 0.2 + 0.6 * draw(2, H, W, 1), []

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


@pytest.mark.slow
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
