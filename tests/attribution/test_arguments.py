"""What holds for the arguments and results of every method: NaN never passes for a result, and bad
values are told.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from converters import from_torch
from jaxlens import attribution, plot
from jaxlens.attribution import metrics
from jaxlens.errors import NonFiniteWarning
from jaxlens.model import Preprocess
from jaxlens.optvis import objectives
from tests.attribution import test_sharding
from tests.attribution.toys import net, pictures

NAN, HUGE = float("nan"), 2**70
HALVES = np.repeat([[0], [1]], 4, 0).repeat(12, 1)


def broken():
    """A network whose weights are NaN."""
    return net().replace(params=jax.tree.map(lambda x: x * jnp.nan, net().params))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["saliency", "grad_cam", "deep_lift", "sobol", "integrated_gradients", "eigen_cam"])
def test_nan_of_the_network_is_told_with_the_images(name):
    options = {"sobol": {"cells": 2, "designs": 2}, "integrated_gradients": {"steps": 2}}.get(name, {})
    with pytest.warns(
        NonFiniteWarning, match=rf"{name} is NaN or infinite for image\(s\) 0, 1 of 2. So are the network's scores"
    ):
        found = getattr(attribution, name)(broken(), pictures(), 1, **options)
    assert np.isnan(np.asarray(found.values)).all()


@pytest.mark.slow
def test_a_network_of_nan_gets_no_good_mark():
    model, x, values = broken(), pictures(), pictures(seed=1)
    with pytest.warns(NonFiniteWarning):
        marks = [
            metrics.model_randomization(attribution.saliency, model, x, 1, progress=False).similarity,
            metrics.random_logit(attribution.saliency, model, x, 1),
            metrics.mu_fidelity(model, x, values, 1, grid=3, samples=4, progress=False),
            metrics.deletion(model, x, values, 1, steps=2, progress=False).area,
        ]
    assert all(np.isnan(np.asarray(mark)).all() for mark in marks)
    with pytest.raises(ValueError, match=r"a holds NaN or infinite numbers, for image\(s\) 1 of 2"):
        metrics.spearman(values.at[1, 0, 0, 0].set(jnp.nan), values)
    assert np.isnan(np.asarray(jax.jit(metrics.spearman)(values.at[1, 0, 0, 0].set(jnp.nan), values))).tolist() == [False, True]


def test_constant_maps_are_no_success_of_a_randomization():
    flat = lambda model, x, target, **_: attribution.saliency(model, x, target).replace(values=jnp.ones_like(x))  # noqa: E731
    with pytest.warns(NonFiniteWarning, match=r"random_logit is NaN .* all alike, which orders nothing"):
        assert np.isnan(np.asarray(metrics.random_logit(flat, net(), pictures(), 1))).all()


def test_normalize_keeps_nan_under_jit_and_refuses_it_outside():
    values = jnp.asarray([[1.0, jnp.nan], [1.0, 2.0]])
    np.testing.assert_array_equal(jax.jit(attribution.normalize)(values), [[np.nan, np.nan], [0, 1]])
    with pytest.raises(ValueError, match=r"image\(s\) 0 of 2"):
        attribution.normalize(values)


@pytest.mark.slow
def test_everything_runs_under_strict_promotion():
    x = jax.ShapeDtypeStruct((2, *test_sharding.SIZE, 3), jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        for fn in test_sharding.cases().values():
            jax.eval_shape(fn, x)


def test_objectives_may_be_listed_one_for_each_image():
    model, x = net(), pictures(3)
    channels = [objectives.channel("maps", c) for c in (1, 3, 1)]
    alone = [attribution.saliency(model, x[i : i + 1], each).values for i, each in enumerate(channels)]
    np.testing.assert_allclose(attribution.saliency(model, x, channels).values, np.concatenate(alone), rtol=1e-5, atol=1e-7)
    texts = attribution.saliency(model, x, ["maps:1", "maps:3", "maps:1"])
    np.testing.assert_allclose(texts.values, np.concatenate(alone), rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="different kinds or layers"):
        attribution.saliency(model, x, ["maps:1", "vector:1", "maps:1"])


def test_kernel_shap_inside_jit_with_features_of_its_own():
    run = lambda x: attribution.kernel_shap(net(), x, 1, layer="vector", progress=False).values  # noqa: E731
    np.testing.assert_allclose(jax.jit(run)(pictures()), run(pictures()), rtol=1e-4, atol=1e-5)


def test_several_layers_of_a_cam_are_averaged_as_in_pytorch_grad_cam():
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3, stride=2, padding=1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(5, 3),
    ).eval()  # fmt: skip
    model = from_torch(network, input_size=(8, 12), preprocess=Preprocess())
    x = np.asarray(pictures())
    batch = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    with GradCAM(model=network, target_layers=[network[1], network[3]]) as cam:
        want = cam(input_tensor=batch, targets=[ClassifierOutputTarget(1)] * 2)
    found = attribution.grad_cam(model, x, 1, layer=["1", "3"])
    assert found.layer == "1, 3" and found.values.shape == (2, 8, 12, 1)
    np.testing.assert_allclose(attribution.normalize(found.values)[..., 0], want, atol=2e-3)


def test_maps_with_channels_first_are_told():
    x = np.asarray(pictures())
    for shape in ((2, 3, 8, 12), (2, 64, 4, 6)):
        with pytest.raises(ValueError, match="channels-first: use np.moveaxis"):
            plot.attributions({"a": np.zeros(shape, np.float32)}, x)


def test_metrics_and_resize_refuse_maps_with_channels_first():
    model, x = net(), pictures()
    values = attribution.saliency(model, x, 1, sign="all").values
    turned = jnp.moveaxis(values, -1, 1)
    for call in (
        lambda maps: metrics.deletion(model, x, maps, 1, steps=2, progress=False),
        lambda maps: metrics.insertion(model, x, maps, 1, steps=2, progress=False),
        lambda maps: metrics.mu_fidelity(model, x, maps, 1, grid=3, samples=4, progress=False),
        lambda maps: metrics.road(model, x, maps, 1, progress=False),
        lambda maps: metrics.average_drop(model, x, maps, 1),
        lambda maps: metrics.pointing_game(maps, [[2, 2, 4, 4]] * 2, size=x.shape[1:3]),
        lambda maps: attribution.resize(maps, x.shape[1:3]),
    ):
        call(values)
        with pytest.raises(ValueError, match=r"channels-first: use np.moveaxis\(values, -3, -1\)"):
            call(turned)
    with pytest.raises(ValueError, match=r"use maps\['a'\]\[..., None\]|\[\.\.\., None\]"):
        plot.attributions({"a": np.asarray(values[..., 0])}, np.asarray(x))


x = pictures()
BAD = {
    "a class of 64 bits": (lambda m: attribution.saliency(m, x, np.array([2**32 + 1, 0])), ValueError, "target=.*no classes"),
    "huge values": (lambda m: metrics.mu_fidelity(m, x, x * 3e38, 1, grid=3, samples=4), ValueError, "numbers above"),
    "a tiny width": (lambda m: attribution.lime(m, x, 1, features=HALVES, width=1e-30), ValueError, "width=1e-30"),
    "a huge epsilon": (lambda m: attribution.lrp(m, x, 1, epsilon=2.0**70), ValueError, "epsilon=.* must be"),
    "a tiny p": (lambda m: attribution.rise(m, x, 1, p=1e-30), ValueError, "p=1e-30 must be in 0.001..0.999"),
    "no option": (lambda m: attribution.saliency(m, x, 1, sings="all"), TypeError, "saliency: .*'sings'. It takes .*sign"),
    "of a method": (
        lambda m: metrics.random_logit(attribution.saliency, m, x, 1, sings=1), TypeError, "saliency: .*'sings'. It takes",
    ),
    "road of NaN": (lambda m: metrics.road(m, x, x, 1, noise=NAN), ValueError, "noise=nan must be"),
    "road of 1e9": (lambda m: metrics.road(m, x, x, 1, noise=1e9), ValueError, "noise=1000000000.0 must be"),
    "imputation": (lambda m: metrics.noisy_linear_imputation(x, np.eye(8, 12), noise=-1), ValueError, "noise=-1 must be"),
    "sigma of NaN": (lambda m: attribution.expected_gradients(m, x, 1, baselines=x, sigma=NAN), ValueError, "sigma=nan"),
    "infinite sigma": (lambda m: attribution.smooth_grad(m, x, 1, sigma=float("inf")), ValueError, "sigma=inf must be"),
    "tolerance": (lambda m: attribution.integrated_gradients(m, x, 1, tolerance=NAN), ValueError, "tolerance=nan"),
    "steps": (lambda m: attribution.integrated_gradients(m, x, 1, steps=HUGE), ValueError, "steps=.* must be an integer in"),
    "gauss": (lambda m: attribution.integrated_gradients(m, x, 1, steps=10**5), ValueError, "quadrature='middle' for more"),
    "baseline": (lambda m: attribution.deep_lift(m, x, 1, baseline="xyz"), TypeError, "baseline='xyz' must be a number"),
    "no layers": (lambda m: metrics.model_randomization(attribution.saliency, m, x, 1, layers=[]), TypeError, r"layers=\[\]"),
    "a list of no layers": (lambda m: attribution.grad_cam(m, x, 1, layer=[]), ValueError, "layer is an empty list"),
    "ragged features": (lambda m: attribution.lime(m, x, 1, features=[[0], [1, 2]]), TypeError, "features=.* must be an array"),
    "a finer grid than the map": (lambda m: attribution.rise(m, x, 1, cells=13), ValueError, "cells=13 must be an integer in"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_told_by_name(case):
    call, error, words = BAD[case]
    with pytest.raises(error, match=words):
        call(net())
