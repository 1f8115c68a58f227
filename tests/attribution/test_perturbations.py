"""What holds for every method by perturbation: chunks, batches, keys, jit, layers, class 0, parameters left alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens.attribution.perturbation._features import grid_features
from jaxlens.attribution.perturbation._hsic import hsic
from jaxlens.attribution.perturbation._occlusion import feature_ablation, feature_permutation, occlusion
from jaxlens.attribution.perturbation._rise import rise
from jaxlens.attribution.perturbation._shapley import shapley_sampling, shapley_values
from jaxlens.attribution.perturbation._sobol import sobol
from jaxlens.attribution.perturbation._surrogate import kernel_shap, lime
from tests.attribution.toys import net, pictures

GRID = {"features": grid_features((4, 6), (2, 3))}
MORE = {"features": grid_features((4, 6), (4, 5))}
# Small enough for a layer of 4x6 and large enough to be random. Images are 8x12.
METHODS = {
    "occlusion": (occlusion, {"window": (3, 4), "stride": (2, 3)}),
    "feature_ablation": (feature_ablation, GRID),
    "feature_permutation": (feature_permutation, GRID),
    "rise": (rise, {"samples": 13, "cells": (2, 3)}),
    "lime": (lime, MORE | {"samples": 41}),
    "lasso": (lime, MORE | {"samples": 41, "penalty": "lasso", "distance": "l2"}),
    "kernel_shap": (kernel_shap, MORE | {"samples": 41}),
    "shapley_values": (shapley_values, {"features": grid_features((4, 6), (2, 2))}),
    "shapley_sampling": (shapley_sampling, MORE | {"permutations": 3}),
    "sobol": (sobol, {"cells": (2, 3), "designs": 4}),
    "hsic": (hsic, {"cells": (2, 3), "samples": 21}),
}
RANDOM = ["feature_permutation", "rise", "lime", "kernel_shap", "shapley_sampling", "sobol", "hsic"]
COMPLETE = ["kernel_shap", "shapley_values", "shapley_sampling"]


def attribute(name, images, target=(2, 0, 1), **options):
    method, own = METHODS[name]
    if options.get("layer") is None and "features" in own:  # at the image's size
        own = own | {"features": np.repeat(np.repeat(own["features"], 2, 0), 2, 1)}
    return method(net(), images, list(target[: len(images)]), **(own | options))


def close(a, b):
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, atol=2e-5 * max(float(abs(b).max()), 1e-3))


@pytest.mark.parametrize("name", METHODS)
def test_every_method(name):
    images = pictures(3)
    before = jax.tree.map(np.array, net().params)
    found = attribute(name, images)
    assert found.method == ("lime" if name == "lasso" else name) and found.layer == "input"
    assert np.isfinite(found.values).all() and abs(found.values).max() > 1e-4
    np.testing.assert_allclose(found.scores, net()(images)[np.arange(3), np.array([2, 0, 1])], rtol=1e-5)
    assert (found.delta is not None) == (found.baseline_scores is not None) == (name in COMPLETE)
    if name in COMPLETE:
        assert abs(found.delta).max() < 1e-5
    size = (2, 3, 1) if name in ("sobol", "hsic") else (8, 12, 1)
    assert found.values.shape == (3, *size)

    close(attribute(name, images, batch_size=5).values, found.values)
    np.testing.assert_array_equal(attribute(name, images).values, found.values)
    part = slice(0, 3) if name == "feature_permutation" else slice(1, 2)  # only that takes from the other images
    alone = jax.jit(lambda images: attribute(name, images, [2, 0, 1][part], batch_size=3))(images[part])
    close(alone.values, found.values[part])
    close(alone.scores, found.scores[part])
    jax.tree.map(np.testing.assert_array_equal, jax.tree.map(np.array, net().params), before)


@pytest.mark.parametrize("name", RANDOM)
def test_keys(name):
    images = pictures(3)
    a, b, c = (attribute(name, images, seed=key).values for key in (3, jax.random.key(3), 4))
    np.testing.assert_array_equal(a, b)
    assert abs(a - c).max() > 1e-4 * abs(a).max()


@pytest.mark.parametrize("name", METHODS)
def test_at_a_layer(name):
    """A layer's values in place of an image's: as the image of the rest of the network."""
    images = pictures(3)
    found = attribute(name, images, layer="maps")
    assert found.layer == "maps" and found.values.shape[1:] == ((2, 3, 1) if name in ("sobol", "hsic") else (4, 6, 1))
    assert np.isfinite(found.values).all() and abs(found.values).max() > 1e-4
    if name in COMPLETE:
        assert abs(found.delta).max() < 1e-5
        black = net()(jnp.zeros_like(images))[np.arange(3), np.array([2, 0, 1])]
        np.testing.assert_allclose(found.baseline_scores, black, rtol=1e-5)  # the layer's values of the black image


def test_top_class_may_be_class_0():
    model = net()
    order = jnp.argsort(-model(pictures(1))[0])  # so that the top class comes first
    model = model.replace(params=model.params | {"head": model.params["head"][:, order]})
    method, options = METHODS["occlusion"]
    found, other = (method(model, pictures(1), *target, **options).values for target in ((), (1,)))
    np.testing.assert_array_equal(found, method(model, pictures(1), 0, **options).values)
    assert abs(found - other).max() > 1e-3


def test_chunks_one_by_one():
    """Evaluations one at a time, for a method of each way of working."""
    images = pictures(2)
    for name in ("feature_ablation", "feature_permutation", "rise"):
        close(attribute(name, images, batch_size=1).values, attribute(name, images).values)
    with pytest.raises(ValueError, match="batch_size=0"):
        attribute("rise", images, batch_size=0)
