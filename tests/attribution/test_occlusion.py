"""Occlusion, feature ablation and feature permutation: captum in the same process, numbers by hand,
errors.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from converters import from_torch
from jaxlens import modelzoo
from jaxlens.attribution.perturbation._features import grid_features
from jaxlens.attribution.perturbation._occlusion import feature_ablation, feature_permutation, occlusion, rings
from tests.attribution.toys import image, kinked_model, linear, multi_layer, net, pictures, vector_model
from tests.helpers import relative_error

X = (20, 50, 30)


def flat(attribution):
    return np.asarray(attribution.values[:, 0, :, 0]).tolist()


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [80, 200, 120]),
        ({"features": [[0, 0, 1]]}, [280, 280, 120]),
        ({"features": [[0, 0, 1]], "baseline": 4 / 128}, [248, 248, 104]),
        ({"baseline": 4 / 128}, [64, 184, 104]),
        ({"features": [[0, -1, 1]]}, [80, 0, 120]),  # nobody's value stays and gets nothing
        ({"features": [[3, 3, 1]]}, [280, 280, 120]),  # numbers may be missing
    ],
)
def test_ablation_of_captums_toy(options, expected):
    found = feature_ablation(multi_layer(), image(X), 0, **options)
    assert flat(found) == [expected] and found.scores.tolist() == [392]


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"window": (1, 2), "stride": 1, "baseline": 10 / 128}, [200, 220, 240]),
        ({"window": (1, 2), "stride": 1, "baseline": 10 / 128, "overlap": "sum"}, [200, 440, 240]),  # xplique's convention
        ({"window": (1, 2), "stride": (1, 2)}, [280, 280, 120]),  # the last window is cut
        ({"window": 1}, [80, 200, 120]),
    ],
)
def test_occlusion_of_captums_toy(options, expected):
    assert flat(occlusion(multi_layer(), image(X), 0, **options)) == [expected]


def test_ablation_of_the_kinked_function():
    assert flat(feature_ablation(kinked_model(), image([3, 1], scale=4), 0)) == [[2, 1.5]]


def test_full_window_takes_the_baseline():
    model, images = net(), pictures()
    found = occlusion(model, images, 1, window=(8, 12), baseline=0.3)
    drop = model(images)[:, 1] - model(jnp.full_like(images, 0.3))[:, 1]
    np.testing.assert_allclose(found.values, jnp.broadcast_to(drop[:, None, None, None], (2, 8, 12, 1)), rtol=1e-5)


@pytest.fixture(scope="module")
def pair():
    """A small torch network of images 9x13, and the same in JAX."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 4, 2), nn.Tanh(), nn.Flatten(), nn.Linear(60, 4)
    )
    return module.eval(), from_torch(module, (9, 13), preprocess=lambda x: x)


def both(pair, images):
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.asarray(images).transpose(0, 3, 1, 2).copy())


def channels_last(tensor):
    return tensor.detach().numpy().transpose(0, 2, 3, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "window, stride, theirs",
    [((4, 3), (3, 3), (3, 4, 3)), ((2, 5), (2, 4), (3, 2, 5)), ((3, 4, 2), (2, 3, 1), (2, 3, 4))],
)
def test_occlusion_is_captums(pair, window, stride, theirs):
    attr = pytest.importorskip("captum.attr")
    module, model = pair
    images = jax.random.uniform(jax.random.key(1), (2, 9, 13, 3))
    strides = (stride[2], *stride[:2]) if len(stride) == 3 else (3, *stride)
    expected = channels_last(
        attr.Occlusion(module).attribute(both(pair, images), theirs, strides=strides, target=[2, 0], baselines=0.25)
    )
    found = occlusion(model, images, [2, 0], window=window, stride=stride, baseline=0.25).values
    together = len(window) == 2
    assert found.shape == (2, 9, 13, 1 if together else 3)
    assert relative_error(jnp.broadcast_to(found, expected.shape), expected) < 1e-5
    summed = occlusion(model, images, [2, 0], window=window, stride=stride, baseline=0.25, overlap="sum").values
    assert relative_error(jnp.broadcast_to(summed, expected.shape), expected) > 0.1  # the comparison can fail


def test_overlaps_by_hand():
    """A linear score falls by what the window held; every window is walked in Python."""
    weights = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    images = np.random.default_rng(1).uniform(size=(2, 5, 7, 1)).astype(np.float32)
    model = vector_model(lambda x: (x * weights.reshape(1, -1)).sum(1, keepdims=True), 35, 1.0).replace(input_size=(5, 7))
    total, count = np.zeros((2, 5, 7)), np.zeros((5, 7))
    for top in (0, 2):
        for left in (0, 2, 4):  # the last is cut
            part = np.s_[top : top + 3, left : left + 4]
            total[:, *part] += (weights * images[..., 0])[:, *part].sum((1, 2))[:, None, None]
            count[part] += 1
    options = {"window": (3, 4), "stride": (2, 2)}
    np.testing.assert_allclose(occlusion(model, images, 0, overlap="sum", **options).values[..., 0], total, atol=1e-5)
    np.testing.assert_allclose(occlusion(model, images, 0, **options).values[..., 0], total / count, atol=1e-5)
    assert count.max() > 1


@pytest.mark.slow
def test_squeezenet_on_a_photograph_is_captums(shared_data):
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    attr = pytest.importorskip("captum.attr")
    weights = shared_data / "squeezenet1_1.pth"
    model = modelzoo.load("squeezenet1_1", weights)
    reference = torchvision.models.squeezenet1_1(weights=None).eval()
    reference.load_state_dict(torch.load(weights, weights_only=True))
    picture = Image.open(shared_data / "imagenet_samples" / "n01558993_robin.jpg").convert("RGB").resize((96, 64))
    images = np.asarray(picture, np.float32)[None] / 255
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    score = lambda x: reference((x - mean) / std)  # noqa: E731
    model = model.replace(input_size=(64, 96))  # or it would enlarge smaller images
    with torch.no_grad():
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        expected = attr.Occlusion(score).attribute(x, (3, 30, 40), strides=(3, 20, 32), target=15, baselines=0.5)
    with jax.default_matmul_precision("highest"):
        found = occlusion(model, images, 15, window=(30, 40), stride=(20, 32), baseline=0.5)
    error = relative_error(found.values, channels_last(expected)[..., :1])
    print(f"squeezenet1_1, windows 30x40: relative error {error:.1e}")
    assert error < 1e-3


@pytest.mark.parametrize("per_image", [False, True])
def test_ablation_is_captums(pair, per_image):
    torch, attr = pytest.importorskip("torch"), pytest.importorskip("captum.attr")
    module, model = pair
    images = jax.random.uniform(jax.random.key(2), (2, 9, 13, 3))
    features = np.stack([grid_features((9, 13), (2, 3)), grid_features((9, 13), (3, 2))])
    if not per_image:
        features = features[:1]
    mask = torch.from_numpy(features[:, None].astype(np.int64)).expand(-1, 3, -1, -1)
    expected = channels_last(attr.FeatureAblation(module).attribute(both(pair, images), target=1, feature_mask=mask))
    found = feature_ablation(model, images, 1, features=features if per_image else features[0])
    assert relative_error(jnp.broadcast_to(found.values, expected.shape), expected) < 1e-5
    assert found.values.shape == (2, 9, 13, 1)


def test_permutation_is_captums(pair):
    """Two images can only swap; with three, captum is told our permutations."""
    torch, attr = pytest.importorskip("torch"), pytest.importorskip("captum.attr")
    module, model = pair
    features = grid_features((9, 13), (2, 3))
    mask = torch.from_numpy(features[None, None].astype(np.int64)).expand(-1, 3, -1, -1)
    for count in (2, 3):
        images = jax.random.uniform(jax.random.key(3), (count, 9, 13, 3))
        donors = iter(np.array(rings(jax.random.key(5), 6, count)))
        told = lambda x, m: torch.where(m.bool(), x[torch.from_numpy(next(donors)).long()], x)  # noqa: E731, B023
        method = attr.FeaturePermutation(module) if count == 2 else attr.FeaturePermutation(module, told)
        expected = channels_last(method.attribute(both(pair, images), target=1, feature_mask=mask))
        found = feature_permutation(model, images, 1, features=features, seed=5).values
        assert relative_error(jnp.broadcast_to(found, expected.shape), expected) < 1e-5


def test_rings_move_every_image():
    for count in (2, 6):
        donors = np.asarray(rings(jax.random.key(0), 40, count))
        assert (np.sort(donors, 1) == np.arange(count)).all() and (donors != np.arange(count)).all()
    assert len({tuple(ring) for ring in donors}) > 20


def test_grids_of_features():
    assert grid_features((3, 4), (2, 2)).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3]]
    assert grid_features((5, 7), 1).max() == 0 and grid_features((5, 7), (5, 7)).ravel().tolist() == list(range(35))


@pytest.mark.slow
def test_features_of_layers_and_vectors():
    """At a layer the ablation is what the rest of the network does without a value."""
    model, images = net(), pictures()
    found = feature_ablation(model, images, 2, layer="vector")
    head, vector = model.params["head"][:, 2], found_vector(model, images)
    np.testing.assert_allclose(found.values, (vector + vector**2) * head[None] - black(model, head), atol=1e-5)
    zero, each = np.zeros(5, np.float32), (vector + vector**2) * head[None]
    pairs = jnp.stack([each[:, :2].sum(1), each[:, 2:4].sum(1), each[:, 4]], 1)[:, np.array([0, 0, 1, 1, 2])]
    found = feature_ablation(model, images, 2, layer="vector", baseline=zero, features=[0, 0, 1, 1, 2])
    np.testing.assert_allclose(found.values, pairs, atol=1e-5)
    found = occlusion(model, images, 2, layer="vector", window=2, stride=1, overlap="sum", baseline=zero)
    cover = np.array([np.convolve(np.asarray(row_[:-1] + row_[1:]), [1, 1]) for row_ in each])
    np.testing.assert_allclose(found.values, cover, atol=1e-5)
    assert occlusion(model, images, 2, layer="maps").values.shape == (2, 4, 6, 1)
    assert feature_ablation(model, images, 2, layer="maps").values.shape == (2, 4, 6, 5)


def found_vector(model, images):
    from jaxlens import activations

    return activations(model, images, ["vector"])["vector"]


def black(model, head):
    vector = found_vector(model, jnp.zeros((1, 8, 12, 3)))
    return (vector + vector**2) * head[None]


@pytest.mark.slow
def test_default_windows():
    """An eighth of an axis, half of that apart."""
    model, images = linear(np.arange(1, 21)), image(np.random.default_rng(0).uniform(size=(2, 20)), scale=1)
    expected = occlusion(model, images, 1, window=(1, 3), stride=(1, 1)).values
    np.testing.assert_array_equal(occlusion(model, images, 1).values, expected)
    assert not np.allclose(occlusion(model, images, 1, window=(1, 2)).values, expected)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, x: occlusion(m, x, 1, window=9), "window=9 must be an integer in 1..8"),
        (lambda m, x: occlusion(m, x, 1, window=(2, 2), stride=3), "stride=.3, 3. must be at most window"),
        (lambda m, x: occlusion(m, x, 1, window=(1, 2, 3, 4)), "must be a number, or one for each axis"),
        (lambda m, x: occlusion(m, x, 1, window=(2, 2), stride=(1, 1, 1)), "or 2 numbers"),
        (lambda m, x: occlusion(m, x, 1, overlap="max"), "overlap"),
        (lambda m, x: feature_ablation(m, x, 1, features=np.zeros((12, 8), int)), r"features has shape \(12, 8\)"),
        (lambda m, x: feature_ablation(m, x, 1, features=np.zeros((8, 12))), "integers"),
        (lambda m, x: feature_ablation(m, x, 1, features=np.full((8, 12), -2)), "-2..-2"),
        (lambda m, x: feature_ablation(m, x, 1, features=np.full((8, 12), -1)), "-1..-1"),
        (
            lambda m, x: jax.jit(lambda x, f: feature_ablation(m, x, 1, features=f))(x, jnp.zeros((8, 12), int)),
            "features is traced",
        ),
        (lambda m, x: grid_features((8, 12), 9), "cells=9 must be an integer in 1..8"),
        (lambda m, x: grid_features((8, 12), (1, 2, 3)), "cells"),
        (lambda m, x: feature_permutation(m, x[:1], 1), "one image"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(net(), pictures())


def test_many_values_ask_to_be_grouped():
    with pytest.raises(ValueError, match=r"1056 values .*grid_features\(\(16, 22\), 8\)"):
        feature_ablation(linear(np.ones(16 * 22 * 3)).replace(input_size=(16, 22), channels=3), jnp.zeros((1, 16, 22, 3)), 1)


def test_features_that_may_mean_two_things():
    images = jnp.zeros((3, 3, 3, 3))
    model = vector_model(lambda x: x, 27, 1.0).replace(input_size=(3, 3), channels=3)
    with pytest.raises(ValueError, match="one numbering for all images or one for each"):
        feature_ablation(model, images, 1, features=np.zeros((3, 3, 3), int))
    assert feature_ablation(model, images, 1, features=np.zeros((3, 3, 3, 1), int)).values.shape == (3, 3, 3, 1)
