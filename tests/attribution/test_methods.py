"""What holds for every method of attribution, from one list."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import jaxlens
from jaxlens import attribution, site
from jaxlens.attribution import METHODS
from tests.helpers import mostly_slow

SIZE, CLASSES = (8, 12), 4
# Small settings; what is not listed runs as it is.
OPTIONS = {
    "integrated_gradients": {"steps": 6, "tolerance": None},
    "smooth_grad": {"samples": 3},
    "smooth_grad_squared": {"samples": 3},
    "var_grad": {"samples": 3},
    "occlusion": {"window": 3, "stride": 2},
    "feature_ablation": {"features": attribution.grid_features(SIZE, (2, 3))},
    "rise": {"samples": 6, "cells": 3},
    "lime": {"samples": 40, "features": attribution.grid_features(SIZE, (2, 4))},
    "kernel_shap": {"samples": 12, "features": attribution.grid_features(SIZE, (2, 3))},
    "shapley_values": {"features": attribution.grid_features(SIZE, 2)},
    "shapley_sampling": {"permutations": 2, "features": attribution.grid_features(SIZE, 2)},
    "sobol": {"cells": 2, "designs": 4},
    "hsic": {"cells": 2, "samples": 8},
}
MORE = {
    "conductance": functools.partial(attribution.conductance, layer="conv2", steps=15),
    "neuron_conductance": functools.partial(attribution.neuron_conductance, layer="conv2", neuron=1, steps=5),
    "internal_influence": functools.partial(attribution.internal_influence, layer="conv2", steps=5),
    "expected_gradients": functools.partial(attribution.expected_gradients, baselines=jnp.full((2, *SIZE, 3), 0.4), samples=5),
    "deep_lift_shap": functools.partial(attribution.deep_lift_shap, baselines=jnp.full((2, *SIZE, 3), 0.4)),
    "spatial_attribution": functools.partial(attribution.spatial_attribution, layer="conv2", steps=4),
    "channel_attribution": functools.partial(attribution.channel_attribution, layer="conv2", steps=4),
    "feature_permutation": functools.partial(attribution.feature_permutation, features=attribution.grid_features(SIZE, (2, 3))),
    "lasso": functools.partial(attribution.lime, penalty="lasso", distance="l2", **OPTIONS["lime"]),
}
TRANSFORMERS = ("attention_rollout", "gradient_rollout", "transformer_attribution")  # tests/attribution/test_transformer.py
ALL = [*(name for name in METHODS if name not in TRANSFORMERS), *MORE]
# One method of each way of working.
QUICK = (
    "saliency", "smooth_grad", "integrated_gradients", "guided_backprop", "grad_cam", "eigen_cam", "lrp", "feature_ablation",
    "kernel_shap", "shapley_values", "feature_permutation", "channel_attribution",
)  # fmt: skip
COMPLETE = {  # what their values promise to add up to, and how exactly
    "integrated_gradients": 0.1, "deep_lift": 1e-4, "deep_lift_shap": 1e-4, "kernel_shap": 1e-4, "shapley_values": 1e-4,
    "shapley_sampling": 1e-4, "conductance": 0.1, "spatial_attribution": 0.1, "channel_attribution": 0.1,
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    keys = iter(jax.random.split(jax.random.key(0), 8))
    shapes = {"conv1": (3, 3, 3, 6), "conv2": (3, 3, 6, 8), "head": (8, CLASSES)}
    params = {name: 0.4 * jax.random.normal(next(keys), shape) for name, shape in shapes.items()}

    def conv(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def forward(params, x):
        h = jax.nn.relu(site("conv1", conv)(x - 0.2, params["conv1"]) - 0.1)
        h = site("pool", functools.partial(jaxlens._kernels.max_pool, window=(3, 3), stride=(2, 2), pads=((0, 1), (0, 1))))(h)
        h = site("relu2", jax.nn.relu)(site("conv2", conv)(h, params["conv2"]) + 0.05)
        return h.mean((1, 2)) @ params["head"]

    return jaxlens.Model.from_function(forward, params, preprocess=lambda x: 2 * x, input_size=SIZE, name="small")


@pytest.fixture(scope="module")
def images():
    return jax.random.uniform(jax.random.key(1), (3, *SIZE, 3))


def method_of(name):
    return MORE[name] if name in MORE else functools.partial(METHODS[name], **OPTIONS.get(name, {}))


def takes(name, option):
    return option in inspect.signature(METHODS[name] if name in METHODS else MORE[name].func).parameters


def near(a, b):
    scale = float(jnp.abs(b).max())
    assert scale > 0
    assert_allclose(a, b, atol=2e-5 * scale, rtol=2e-4)


@pytest.mark.parametrize("name", mostly_slow(ALL, QUICK))
def test_contract(name, model, images):
    before = jax.tree.map(np.array, model.params)
    method, best = method_of(name), np.asarray(model(images)).argmax(-1)
    found = method(model, images, best)
    # shape, dtype and meaning
    assert found.values.shape[0] == 3
    assert found.values.dtype == jnp.float32
    assert bool(jnp.isfinite(found.values).all())
    near(found.scores, model(images)[jnp.arange(3), best])
    # None means the top class, and a call repeats itself
    assert_array_equal(method(model, images).values, found.values)
    if name not in ("eigen_cam", "random_cam"):
        other = method(model, images, (best + 1) % CLASSES).values
        assert float(jnp.abs(other - found.values).max()) > 1e-3 * float(jnp.abs(found.values).max())
    # inside jit as outside, and an image depends neither on its neighbours nor on its place among
    # them
    part = slice(0, 3) if name == "feature_permutation" else slice(1, 2)  # only that takes from the other images
    alone = jax.jit(lambda model, images: method(model, images, best[part]))(model, images[part])
    near(alone.values, found.values[part])
    near(alone.scores, found.scores[part])
    # memory is bounded and nothing else changes
    if takes(name, "batch_size"):
        near(method(model, images, best, batch_size=2).values, found.values)
    # completeness is what it says
    if found.delta is not None and found.baseline_scores is not None and name != "group_attribution":
        missing = found.values.reshape(3, -1).sum(1) - (found.scores - found.baseline_scores)
        if found.values.shape[1:] != (*SIZE, 1):  # values of groups are repeated over the pixels of each
            assert_allclose(found.delta, missing, atol=1e-4)
        if name in COMPLETE:
            assert np.abs(found.delta).max() <= COMPLETE[name] * np.abs(found.scores - found.baseline_scores).max()
    # nothing was changed
    jax.tree.map(assert_array_equal, before, jax.tree.map(np.array, model.params))


@pytest.mark.parametrize("name", [name for name in ALL if takes(name, "seed") or name in ("smooth_grad_squared", "var_grad")])
def test_keys(name, model, images):
    method = method_of(name)
    first = method(model, images, 2, seed=5).values
    assert_array_equal(first, method(model, images, 2, seed=jax.random.key(5)).values)
    assert float(jnp.abs(first - method(model, images, 2, seed=6).values).max()) > 0


@pytest.mark.parametrize("name", [name for name in ALL if takes(name, "layer") and name in METHODS and "cam" not in name])
def test_layer(name, model, images):
    options = dict(OPTIONS.get(name, {}))
    if "features" in options:
        options["features"] = attribution.grid_features((4, 6), 2)
    found = METHODS[name](model, images, 2, layer="conv2", **options)
    assert found.layer == "conv2"
    assert found.values.shape[0] == 3
    assert bool(jnp.isfinite(found.values).all()) and float(jnp.abs(found.values).max()) > 1e-4
    if name not in ("sobol", "hsic"):  # these have the resolution of their cells
        assert found.values.shape[1:3] == (4, 6)
    if name in ("kernel_shap", "shapley_values", "shapley_sampling"):  # from the layer's values of the black image
        assert_allclose(found.baseline_scores, model(jnp.zeros_like(images))[:, 2], rtol=1e-4)
        assert float(jnp.abs(found.delta).max()) < 1e-5


def test_the_top_class_may_be_class_0(model, images):
    order = jnp.argsort(-model(images[:1])[0])  # so that the top class comes first
    model = model.replace(params=model.params | {"head": model.params["head"][:, order]})
    found, zero, one = (attribution.occlusion(model, images[:1], *target).values for target in ((), (0,), (1,)))
    assert_array_equal(found, zero)
    assert float(jnp.abs(found - one).max()) > 1e-3


@pytest.mark.parametrize("name", ["feature_ablation", "feature_permutation", "rise"])
def test_evaluations_one_at_a_time(name, model, images):
    """For a method of each way of working."""
    method = method_of(name)
    near(method(model, images, 2, batch_size=1).values, method(model, images, 2).values)


def test_vmap(model, images):
    """Over a batch of batches, as over anything."""
    twice = jnp.stack([images, images[::-1]])
    found = jax.vmap(lambda x: attribution.integrated_gradients(model, x, 1, steps=4).values)(twice)
    for each, one in zip(found, twice, strict=True):
        near(each, attribution.integrated_gradients(model, one, 1, steps=4, tolerance=None).values)


def test_chunks_and_samples_do_not_compile_anew(model, images):
    from jaxlens.attribution import _batches

    attribution.smooth_grad(model, images, 1, samples=4, batch_size=2)
    compiled = _batches._compiled._cache_size()
    for samples in (5, 9):
        attribution.smooth_grad(model, images, 1, samples=samples, batch_size=2)
    attribution.smooth_grad(model, images, [0, 1, 2], samples=4, sigma=0.3, seed=7, batch_size=2)
    assert _batches._compiled._cache_size() == compiled
    attribution.smooth_grad(model, images, 1, samples=4, batch_size=3)  # the control: another size is another program
    assert _batches._compiled._cache_size() == compiled + 1


def test_baselines_at_a_layer_may_be_images_or_values(model, images):
    grey = attribution.integrated_gradients(model, images, 1, layer="conv2", baseline=0.5, tolerance=None)
    values = jaxlens.activations(model, jnp.full_like(images, 0.5), ["conv2"])["conv2"]
    same = attribution.integrated_gradients(model, images, 1, layer="conv2", baseline=values, tolerance=None)
    near(same.values, grey.values)
    black = attribution.integrated_gradients(model, images, 1, layer="conv2", tolerance=None)
    assert float(jnp.abs(black.values - grey.values).max()) > 0.1 * float(jnp.abs(grey.values).max())


NAN = jnp.full((1, *SIZE, 3), jnp.nan)
ONE = jnp.full((1, *SIZE, 3), 0.5)
ERRORS = {
    "class out of range": (
        lambda m: attribution.saliency(m, ONE, 4),
        ValueError,
        r"channel=4 is outside 0\.\.3 of layer 'logits'",
    ),
    "negative class": (lambda m: attribution.saliency(m, ONE, -1), ValueError, r"channel=-1 is outside"),
    "class as a float": (lambda m: attribution.saliency(m, ONE, 1.0), TypeError, r"target=1\.0 must be None"),
    "too many targets": (lambda m: attribution.saliency(m, ONE, [0, 1]), ValueError, r"2 targets for 1 image.*jnp\.repeat"),
    "label without labels": (lambda m: attribution.saliency(m, ONE, "cat"), ValueError, "small has no labels"),
    "unknown label": (lambda m: attribution.saliency(m.replace(labels=("cat",) * 4), ONE, "cut"), ValueError, "Closest: .*cat"),
    "unknown layer": (lambda m: attribution.saliency(m, ONE, 0, layer="conv3"), LookupError, r"'conv3' is not a layer.*conv2"),
    "layer after the target": (
        lambda m: attribution.integrated_gradients(m, ONE, "conv1:0", layer="conv2"),
        ValueError,
        r"layer='conv2' is not on the way to the target, which reads 'conv1'",
    ),
    "layer without a grid": (
        lambda m: attribution.grad_cam(m, ONE, 0, layer="logits"),
        ValueError,
        r"(?s)grid.*conv2|conv2.*grid",
    ),
    "baseline of another shape": (
        lambda m: attribution.integrated_gradients(m, ONE, 0, baseline=jnp.zeros((12, 8, 3))),
        ValueError,
        r"baseline has shape \(12, 8, 3\)",
    ),
    "baseline out of range": (lambda m: attribution.deep_lift(m, ONE, 0, baseline=2.0), ValueError, "baseline has values in"),
    "baseline of NaN": (lambda m: attribution.deep_lift(m, ONE, 0, baseline=float("nan")), ValueError, "baseline holds NaN"),
    "NaN image": (lambda m: attribution.saliency(m, NAN, 0), ValueError, "images holds NaN"),
    "image 0..255": (lambda m: attribution.saliency(m, 255 * ONE, 0), ValueError, "Divide by 255"),
    "channels first": (lambda m: attribution.saliency(m, ONE.transpose(0, 3, 1, 2), 0), ValueError, "channels-first"),
    "no images": (lambda m: attribution.saliency(m, ONE[:0], 0), ValueError, "images is empty"),
    "no steps": (lambda m: attribution.integrated_gradients(m, ONE, 0, steps=0), ValueError, "steps=0 must be"),
    "batch of none": (lambda m: attribution.integrated_gradients(m, ONE, 0, batch_size=0), ValueError, "batch_size=0 must be"),
    "negative noise": (lambda m: attribution.smooth_grad(m, ONE, 0, sigma=-1.0), ValueError, "sigma=-1.0 must be"),
    "a seed that is none": (lambda m: attribution.smooth_grad(m, ONE, 0, seed="a"), TypeError, "seed='a' must be"),
    "a vector where a map is needed": (
        lambda m: attribution.spatial_attribution(m, ONE, 0, layer="logits"),
        ValueError,
        "is no map",
    ),
    "a neuron that is not there": (
        lambda m: attribution.neuron_conductance(m, ONE, 0, layer="conv2", neuron=8),
        ValueError,
        r"neuron=8 must be an integer in 0\.\.7",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_what_to_do(case, model):
    call, error, words = ERRORS[case]
    with pytest.raises(error, match=words):
        call(model)
