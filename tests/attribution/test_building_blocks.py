"""Attribution to channels, positions and groups, and between layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxlens
from jaxlens import attribution, site
from jaxlens.model import interceptors
from jaxlens.optvis import objectives
from tests.helpers import images, small_model

LAYER = "blocks.0"


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def linear():
    """A Model whose second layer is linear in its first, 3 x 5 positions, so that every attribution
    is a product of weights.
    """
    w1, w2 = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(3, 4), (4, 2)]))

    def forward(params, x):
        a = site("a", lambda x: x @ w1)(x)
        b = site("b", lambda a: jnp.roll(a, 1, axis=2) @ w2)(a)
        return b.sum((1, 2))

    return jaxlens.Model.from_function(forward, {}, preprocess=jnp.asarray, input_size=(3, 5), name="linear"), w2


def test_a_linear_head_is_exact(linear):
    model, w2 = linear
    x = images(2, (3, 5))
    a = jaxlens.activations(model, x, ["a"])["a"]
    spatial = attribution.spatial_attribution(model, x, 1, layer="a")
    assert_allclose(spatial.values[..., 0], a @ w2[:, 1], rtol=1e-4, atol=1e-5)
    channels = attribution.channel_attribution(model, x, 1, layer="a")
    assert_allclose(channels.values, a.sum((1, 2)) * w2[None, :, 1], rtol=1e-4, atol=1e-5)
    path = attribution.channel_attribution(model, x, 1, layer="a", steps=3)
    assert_allclose(path.values, channels.values, rtol=1e-4, atol=1e-5)
    assert_allclose(path.delta, 0, atol=1e-4)


def test_between_layers(linear):
    model, w2 = linear
    x = images(2, (3, 5))
    found = jaxlens.activations(model, x, ["a", "b"])
    channels = attribution.channel_to_channel(model, x, layer="a", to="b", batch_size=3)
    assert_allclose(channels, found["a"].sum((1, 2))[:, None] * w2.T[None], rtol=1e-4, atol=1e-5)
    positions = attribution.spatial_to_spatial(model, x, layer="a", to="b", batch_size=4)
    assert positions.shape == (2, 3, 5, 3, 5)
    # |b| is homogeneous: what flows to a position is all of its length, and comes from its left
    # neighbour
    length = np.linalg.norm(found["b"], axis=-1)
    assert_allclose(positions.sum((3, 4)), length, rtol=1e-4)
    assert_allclose(positions[0, 1, 2, 1, 1], length[0, 1, 2], rtol=1e-4)
    assert_allclose(positions[0, 1, 2, 1, 2], 0, atol=1e-6)


@pytest.mark.slow
def test_a_path_adds_up_and_one_gradient_does_not(model):
    x = images(2)
    for method in (attribution.spatial_attribution, attribution.channel_attribution):
        found = method(model, x, 2, layer=LAYER, steps=100)
        change = np.abs(found.scores - found.baseline_scores)
        assert float(np.abs(found.delta).max()) < 0.02 * float(change.max())
        one = method(model, x, 2, layer=LAYER)
        assert one.delta is None
        assert_allclose(one.values.reshape(2, -1).sum(1), attribution.input_x_gradient(model, x, 2, layer=LAYER).values.reshape(2, -1).sum(1), rtol=1e-4)  # fmt: skip # noqa: E501


def test_the_difference_of_two_classes_is_a_target(model):
    x = images(2)
    first, second = (attribution.channel_attribution(model, x, k, layer=LAYER).values for k in (0, 3))
    target = objectives.channel("logits", 0) - objectives.channel("logits", 3)
    assert_allclose(attribution.channel_attribution(model, x, target, layer=LAYER).values, first - second, atol=1e-6)


@pytest.mark.slow
def test_ablating_the_channels_that_count_lowers_the_score_more_than_random_ones():
    model = jaxlens.modelzoo.load("lensnet")
    x, layer, k = images(1, (64, 72), seed=3), "mixed4a", 8
    found = attribution.channel_attribution(model, x, layer=layer, steps=16)
    target = int(np.argmax(model(x)[0]))

    def drop(channels):
        left = jaxlens.activations(model, x, ["logits"], [interceptors.ablate(layer, channels)])["logits"][0, target]
        return float(found.scores[0] - left)

    best = drop(np.argsort(-np.asarray(found.values[0]))[:k])
    keys = jax.random.split(jax.random.key(0), 20)
    random = [drop(np.asarray(jax.random.choice(key, found.values.shape[1], (k,), replace=False))) for key in keys]
    assert best > max(random)
    worst = drop(np.argsort(np.asarray(found.values[0]))[:k])
    assert worst < np.median(random)  # the control: channels that speak against the class


def test_groups_share_what_their_factors_explain(model):
    x = images(2)
    a = jaxlens.activations(model, x, [LAYER])[LAYER]
    products = attribution.input_x_gradient(model, x, 1, layer=LAYER).values
    # every channel a group of its own: nothing is left out, and groups are channels
    alone = attribution.group_attribution(model, x, 1, layer=LAYER, spatial=a, channels=jnp.eye(a.shape[-1]))
    assert_allclose(alone.values, products.sum((1, 2)), rtol=1e-4, atol=1e-6)
    assert_allclose(alone.delta, 0, atol=1e-5)
    # two of the groups left out: the residual is theirs
    some = attribution.group_attribution(model, x, 1, layer=LAYER, spatial=a[..., 2:], channels=jnp.eye(a.shape[-1])[2:])
    assert_allclose(some.delta, -products.sum((1, 2))[:, :2].sum(1), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"spatial .* and channels .* must be"):
        attribution.group_attribution(model, x, 1, layer=LAYER, spatial=a[..., 2:], channels=jnp.eye(a.shape[-1]))


def test_a_gradient_rule_of_the_model_is_honoured(model):
    """The article's smoother gradient of max-pools."""
    x = images(1)
    plain = attribution.spatial_attribution(model, x, 1, layer=LAYER).values
    smooth = attribution.spatial_attribution(
        model.with_gradient_rule(jaxlens.model.rules.standard(pools="l2")), x, 1, layer=LAYER
    ).values
    assert float(jnp.abs(plain - smooth).max()) > 0.01 * float(jnp.abs(plain).max())
