"""Gradient methods on networks whose answers are known by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxlens import attribution
from jaxlens.optvis import objectives
from tests.attribution.toys import image, kinked, multi_layer, one_conv, one_conv_image, vector_model

HUNDRED = image([0, 100, 0])


def flat(result):
    return np.asarray(result.values).reshape(result.values.shape[0], -1)


def relu(x):
    return jax.nn.relu(x)


def test_guided_backprop_and_deconvnet_on_captums_one_conv():
    scale = 16.0  # the gradient by the image in [0, 1] is that by the pixels 0..15 times their scale
    guided = attribution.guided_backprop(one_conv(), one_conv_image(), 0).values[0, :, :, 0] / scale
    assert_allclose(guided, [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]])
    deconv = attribution.deconvnet(one_conv(), one_conv_image(), 0).values[0, :, :, 0] / scale
    assert_allclose(deconv, [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]])
    plain = attribution.saliency(one_conv(), one_conv_image(), 0, sign="all").values[0, :, :, 0] / scale
    assert np.abs(plain - guided).max() > 0.5  # the toy tells them apart


def test_relu_toys_of_guided_backprop_and_deconvnet():
    x = image([[5, 0, -5, 10]], scale=16.0, shift=-6.0)
    squares = vector_model(lambda x: -jnp.square(relu(x)).sum(-1), 4, scale=16.0, shift=-6.0)
    assert_allclose(flat(attribution.saliency(squares, x, 0, sign="all")) / 16, [[-10, 0, 0, -20]], atol=1e-6)
    gained = vector_model(lambda x: 10 * relu(x).sum(-1), 4, scale=16.0, shift=-6.0)
    assert_allclose(flat(attribution.saliency(gained, x, 0)) / 16, [[10, 0, 0, 10]])
    assert_allclose(flat(attribution.deconvnet(gained, x, 0)) / 16, [[10, 10, 10, 10]])
    # the model is as it was
    assert_allclose(flat(attribution.saliency(gained, x, 0)) / 16, [[10, 0, 0, 10]])


def test_guided_backprop_of_a_negative_square_is_zero():
    def last(x):
        return -jnp.square(relu(x)).sum(-1)

    x = image([[5, 0, -5, 10]], scale=16.0, shift=-6.0)
    model = vector_model(last, 4, scale=16.0, shift=-6.0)
    found = attribution.guided_backprop(model, x, 0, allow=("square", "integer_pow"))
    assert_allclose(flat(found), 0)


def test_integrated_gradients_on_captums_multi_layer():
    found = attribution.integrated_gradients(multi_layer(), HUNDRED, 0, quadrature="middle")
    assert_allclose(flat(found), [[0, 390, 0]], atol=1e-3)
    assert_allclose(found.scores - found.baseline_scores, [390])
    assert_allclose(found.delta, [0], atol=1e-3)


def test_methods_differ_on_a_kinked_function():
    model, x = vector_model(kinked, 2, scale=16.0), image([3, 1], scale=16.0)
    assert_allclose(flat(attribution.input_x_gradient(model, x, 0)), [[1.5, 1.5]], atol=1e-6)
    assert_allclose(attribution.input_x_gradient(model, x, 0).delta, [1], atol=1e-6)
    assert_allclose(
        flat(attribution.integrated_gradients(model, x, 0, steps=1000, quadrature="middle")), [[0.75, 1.25]], atol=1e-3
    )
    assert_allclose(flat(attribution.deep_lift(model, x, 0)), [[0.75, 1.25]], atol=1e-6)


def test_integrated_gradients_is_implementation_invariant_and_deep_lift_is_not():
    x = image([3, 1], scale=16.0)
    first = vector_model(lambda x: relu(relu(x[:, 0]) - 1 - relu(x[:, 1])), 2, scale=16.0)
    second = vector_model(lambda x: relu(relu(x[:, 0] - 1) - relu(x[:, 1])), 2, scale=16.0)
    for model in (first, second):
        found = attribution.integrated_gradients(model, x, 0, steps=999, quadrature="middle", tolerance=None)
        assert_allclose(flat(found), [[1.5, -0.5]], atol=2e-3)
    assert_allclose(flat(attribution.deep_lift(first, x, 0)), [[1.5, -0.5]], atol=1e-6)
    assert_allclose(flat(attribution.deep_lift(second, x, 0)), [[2, -1]], atol=1e-6)


def test_deep_lift_by_hand():
    model = vector_model(lambda x: 2 * relu(x[:, 0]) + 2 * relu(x[:, 1] - 1.5), 2, scale=16.0)
    found = attribution.deep_lift(model, image([1, 2], scale=16.0), 0)
    assert_allclose(flat(found), [[2, 1]], atol=1e-6)
    assert_allclose(found.delta, 0, atol=1e-6)


@pytest.mark.parametrize(("baseline", "expected"), [([1, 2, 3, 9], [0, 0, 0, -8]), ([4, 8, 6, 7], [0, -7, 0, 0])])
def test_deep_lift_through_a_max_pool(baseline, expected):
    model = vector_model(lambda x: x.max(-1), 4, scale=16.0)
    found = attribution.deep_lift(model, image([1, 1, 1, 1], scale=16.0), 0, baseline=image(baseline, scale=16.0))
    assert_allclose(flat(found), [expected], atol=1e-5)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jax.nn.softmax(x, -1)[:, 0],
        lambda x: x[:, 0] * x[:, 1] / (1 + x[:, 2]),
        lambda x: jnp.maximum(x[:, 0], x[:, 1]) - jnp.minimum(x[:, 1], 2 * x[:, 2]),
        lambda x: (jax.nn.gelu(x) * jnp.tanh(x - 1)).sum(-1),
        lambda x: jnp.einsum("bi,bj,bj->b", x, x, jnp.sqrt(x + 1)),
        lambda x: (x / jnp.linalg.norm(x + 1, axis=-1, keepdims=True)).sum(-1),
    ],
    ids=["softmax", "quotient", "max and min", "gelu", "einsum", "norm"],
)
def test_deep_lift_is_complete_whatever_the_function(fn):
    model = vector_model(fn, 3, scale=4.0)
    x, start = image([[3, 1, 2], [0.5, 3.5, 1]], scale=4.0), image([[1, 2, 0.5], [2, 2, 2]], scale=4.0)
    found = attribution.deep_lift(model, x, 0, baseline=start)
    assert float(np.abs(found.scores - found.baseline_scores).min()) > 0.01
    assert_allclose(found.delta, 0, atol=2e-5)


def test_deep_lift_refuses_what_picks_by_value():
    model = vector_model(lambda x: jnp.where(x[:, 0] > x[:, 1], x[:, 1], x[:, 2]), 3)
    with pytest.raises(attribution.UnsupportedError, match=r"no rule for select_n.*integrated_gradients"):
        attribution.deep_lift(model, image([1, 2, 3]), 0)


def test_lrp_by_hand():
    def fn(x):
        return relu(x @ jnp.full((3, 3), 2.0)) @ jnp.full((3, 1), 3.0)

    model, x = vector_model(fn, 3), image([[1, 2, 3], [3, 6, 9]])
    for rule in ("epsilon", "gamma", "alpha_beta"):
        found = attribution.lrp(model, x, 0, rule=rule)
        assert_allclose(flat(found), [[18, 36, 54], [54, 108, 162]], rtol=1e-6)
        assert_allclose(found.delta, 0, atol=1e-4)


def test_lrp_rules_differ_where_signs_mix():
    """Weights 1, -1 and 2 into one unit, from a = (2, 1, 1): z = 3, z+ = 4, z- = -1."""
    model, x = vector_model(lambda x: relu(x @ jnp.asarray([[1.0], [-1.0], [2.0]])), 3), image([2, 1, 1])
    assert_allclose(flat(attribution.lrp(model, x, 0)), [[2, -1, 2]], rtol=1e-5)
    assert_allclose(flat(attribution.lrp(model, x, 0, rule="epsilon", epsilon=1.0)), [[1.5, -0.75, 1.5]], rtol=1e-5)
    # gamma 1: a w -> 4, -1, 4, of z = 7
    assert_allclose(flat(attribution.lrp(model, x, 0, rule="gamma", gamma=1.0)), [[12 / 7, -3 / 7, 12 / 7]], rtol=1e-5)
    assert_allclose(flat(attribution.lrp(model, x, 0, rule="alpha_beta")), [[1.5, 0, 1.5]], rtol=1e-5)
    # alpha 2, beta 1: 2 * 3 * 2/4, -1 * 3 * 1, 2 * 3 * 2/4
    assert_allclose(flat(attribution.lrp(model, x, 0, rule="alpha_beta", alpha=2.0)), [[3, -3, 3]], rtol=1e-5)


def test_lrp_takes_a_rule_for_a_layer():
    found = attribution.lrp(multi_layer(), image([20, 50, 30]), 0, rules={"lin1": "alpha_beta"})
    # lin2's 389 is lin1's [90, 101, 101, 101] minus 1; relevance of lin1 without its positive bias
    # share, in shares of x
    hidden = np.array([90, 101, 101, 101]) * 392 / 393 * 393 / 392
    share = (hidden[:1] * 100 / 100).sum() + (hidden[1:] * 100 / 101).sum()
    assert_allclose(flat(found), [np.array([20, 50, 30]) / 100 * share], rtol=1e-5)
    with pytest.raises(ValueError, match=r"rules names 'lin9'.*Closest"):
        attribution.lrp(multi_layer(), HUNDRED, 0, rules={"lin9": "gamma"})


def test_lrp_refuses_products():
    model = vector_model(lambda x: x[:, 0] * x[:, 1], 2)
    with pytest.raises(attribution.UnsupportedError, match="no rule for mul"):
        attribution.lrp(model, image([1, 2]), 0)


def test_conductance_on_captums_multi_layer():
    model = multi_layer()
    expected = {"lin1": [90, 100, 100, 100], "lin0": [0, 390, 0], "lin2": [390, 0]}
    for layer, numbers in expected.items():
        found = attribution.conductance(model, HUNDRED, 0, layer=layer)
        assert_allclose(flat(found), [numbers], atol=1e-3)
        assert_allclose(found.delta, 0, atol=1e-3)
    neuron = attribution.neuron_conductance(model, HUNDRED, 0, layer="lin1", neuron=0)
    assert_allclose(flat(neuron), [[0, 90, 0]], atol=1e-3)


def test_internal_influence_on_captums_multi_layer():
    model = multi_layer()
    for layer, numbers in {"lin1": [0.9, 1, 1, 1], "lin0": [3.9, 3.9, 3.9]}.items():
        found = attribution.internal_influence(model, HUNDRED, 0, layer=layer, quadrature="middle")
        assert_allclose(flat(found), [numbers], atol=1e-5)
    # x2 from -20 to 80: the unit with bias -10 is on for 70 of 100, the others for 81 (captum's own
    # test has 0.8)
    shifted = multi_layer(shift=-20.0)
    start = image([0, -20, 0], shift=-20.0)
    found = attribution.internal_influence(
        shifted, image([0, 80, 0], shift=-20.0), 0, layer="lin1", baseline=start[0], quadrature="middle", steps=100
    )
    assert_allclose(flat(found), [[0.7, 0.81, 0.81, 0.81]], atol=1e-5)


def test_neuron_attribution_of_the_output_is_ordinary_attribution():
    model = multi_layer()
    for method in (attribution.saliency, attribution.integrated_gradients, attribution.deep_lift):
        assert_allclose(method(model, HUNDRED, "lin2:1").values, method(model, HUNDRED, 1).values)


def test_layer_methods_put_everything_at_the_layer():
    model, x = multi_layer(), image([20, 50, 30])
    at = {"layer": "lin1"}
    assert_allclose(flat(attribution.saliency(model, x, 0, **at)), [[1, 1, 1, 1]])
    assert_allclose(flat(attribution.input_x_gradient(model, x, 0, **at)), [[90, 101, 101, 101]])
    # h' = (-10, 1, 1, 1): the unit that is off at first counts from 0
    found = attribution.integrated_gradients(model, x, 0, quadrature="middle", **at)
    assert_allclose(flat(found), [[90, 100, 100, 100]], atol=1e-3)
    zero = attribution.integrated_gradients(model, x, 0, baseline=jnp.zeros(4), quadrature="middle", **at)
    assert_allclose(flat(zero), [[90, 101, 101, 101]], atol=1e-3)
    assert_allclose(flat(attribution.deep_lift(model, x, 0, **at)), [[90, 100, 100, 100]], atol=1e-3)


def test_full_grad_adds_up_to_the_score():
    found = attribution.full_grad(multi_layer(), image([[20, 50, 30], [1, 2, 3]]), 1, absolute=False)
    assert_allclose(found.delta, 0, atol=1e-3)
    assert_allclose(found.values.sum((1, 2, 3)), found.scores, rtol=1e-5)
    # input x gradient is 400, the biases -10 + 1 + 1 + 1 + 1, spread over three pixels, as they
    # have no place
    assert_allclose(flat(found)[0], np.array([80, 200, 120]) - 6 / 3, rtol=1e-5)
    absolute = attribution.full_grad(multi_layer(), image([20, 50, 30]), 1)
    assert_allclose(flat(absolute)[0], np.array([80, 200, 120]) + 14 / 3, rtol=1e-5)


def test_smooth_grad_without_noise_is_the_gradient():
    model, x = multi_layer(), image([[20, 50, 30], [1, 2, 3]])
    plain = attribution.saliency(model, x, 0, sign="all").values
    assert_allclose(attribution.smooth_grad(model, x, 0, sigma=0.0, samples=3).values, plain, rtol=1e-6)
    assert_allclose(attribution.smooth_grad_squared(model, x, 0, sigma=0.0, samples=3).values, plain**2, rtol=1e-6)
    assert_allclose(attribution.var_grad(model, x, 0, sigma=0.0, samples=3).values, 0, atol=1e-3)


def test_noise_has_the_size_it_is_said_to_have():
    """The gradient of x**2 / 2 is x + noise: SmoothGrad's mean is x, VarGrad's value the variance
    of the noise.
    """
    model = vector_model(lambda x: jnp.square(x).sum(-1) / 2, 3, scale=1.0)
    x = image([[0.2, 0.5, 0.6], [0.1, 0.1, 0.9]], scale=1.0)
    found = attribution.var_grad(model, x, 0, samples=4000, sigma=0.1, relative=False)
    assert_allclose(found.values, 0.01, rtol=0.1)
    relative = attribution.var_grad(model, x, 0, samples=4000, sigma=0.1, relative=True)
    assert_allclose(relative.values[:, 0, :, 0], np.array([[0.04**2], [0.08**2]]) * np.ones((1, 3)), rtol=0.1)
    biased = attribution.var_grad(model, x, 0, samples=2, sigma=0.1, unbiased=False)
    assert_allclose(2 * biased.values, attribution.var_grad(model, x, 0, samples=2, sigma=0.1).values, rtol=1e-5)
    mean = attribution.smooth_grad(model, x, 0, samples=4000, sigma=0.1, relative=False)
    assert_allclose(mean.values, x, atol=0.01)


def test_noise_tunnel_is_smooth_grad_of_any_method():
    model, x = multi_layer(), image([[20, 50, 30], [30, 40, 50]])
    found = attribution.noise_tunnel(attribution.saliency, model, x, 0, sign="all", samples=4, sigma=0.05, seed=3)
    smooth = attribution.smooth_grad(model, x, 0, samples=4, sigma=0.05, seed=3)
    assert_allclose(found.values, smooth.values, rtol=1e-5)
    assert found.method == "saliency in noise"


def test_expected_gradients_is_integrated_gradients_for_one_baseline():
    model, x = vector_model(kinked, 2, scale=16.0), image([3, 1], scale=16.0)
    found = attribution.expected_gradients(model, x, 0, baselines=jnp.zeros((1, 1, 2, 1)), samples=4000)
    assert_allclose(flat(found), [[0.75, 1.25]], atol=0.05)
    both = attribution.expected_gradients(model, x, 0, baselines=jnp.concatenate([jnp.zeros((1, 1, 2, 1)), x]), samples=4000)
    assert_allclose(flat(both), [[0.375, 0.625]], atol=0.05)
    assert_allclose(both.baseline_scores, [1.0], atol=1e-6)


def test_deep_lift_shap_is_the_mean_over_baselines():
    model, x = vector_model(kinked, 2, scale=16.0), image([[3, 1], [2, 5]], scale=16.0)
    starts = image([[0, 0], [1, 2], [4, 0]], scale=16.0)
    each = [attribution.deep_lift(model, x, 0, baseline=start[None]).values for start in starts]
    found = attribution.deep_lift_shap(model, x, 0, baselines=starts, batch_size=4)
    assert_allclose(found.values, np.mean(each, axis=0), atol=1e-6)
    assert_allclose(found.delta, 0, atol=1e-6)


@pytest.mark.parametrize("rule", ["gausslegendre", "trapezoid", "middle", "left", "right"])
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_weights_add_up_to_one(rule, steps):
    """captum's trapezoid adds up to (n - 1) / n, and fails completeness on a linear function."""
    from jaxlens.attribution.gradient._quadrature import nodes

    points, weights = nodes(rule, steps)
    assert points.shape == weights.shape
    assert not weights[steps:].any()
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    linear = vector_model(lambda x: x @ jnp.asarray([[1.0], [-2.0], [3.0]]), 3)
    found = attribution.integrated_gradients(linear, image([1, 2, 3]), 0, steps=steps, quadrature=rule)
    assert_allclose(flat(found), [[1, -4, 9]], rtol=1e-5)


def test_quadrature_is_as_good_as_its_rule():
    cubic = vector_model(lambda x: jnp.power(x, 3).sum(-1), 2, scale=4.0)
    x = image([1, 2], scale=4.0)
    exact = attribution.integrated_gradients(cubic, x, 0, steps=2)
    assert_allclose(flat(exact), [[1, 8]], rtol=1e-5)
    with pytest.warns(attribution.IncompleteWarning, match=r"1 of 1 image.*steps=128 would do"):
        attribution.integrated_gradients(cubic, x, 0, steps=16, quadrature="right", tolerance=0.02)


def test_saliency_signs():
    model, x = vector_model(lambda x: x @ jnp.asarray([[2.0], [-3.0]]), 2, scale=1.0), image([0.1, 0.2], scale=1.0)
    expected = {"all": [2, -3], "absolute": [2, 3], "positive": [2, 0], "negative": [0, 3]}
    for sign, numbers in expected.items():
        assert_allclose(flat(attribution.saliency(model, x, 0, sign=sign)), [numbers])


def test_targets():
    model, x = multi_layer(), image([[20, 50, 30], [1, 2, 3]])
    top = attribution.input_x_gradient(model, x)
    assert_allclose(top.scores, [394, 22])  # the second output is the larger one
    each = attribution.input_x_gradient(model, x, [0, 1])
    assert_allclose(each.scores, [392, 22])
    first = attribution.input_x_gradient(model, x, 0)
    assert float(first.scores[0]) != float(top.scores[0])  # class 0 is a class
    difference = objectives.channel("lin2", 1) - objectives.channel("lin2", 0)
    assert_allclose(attribution.input_x_gradient(model, x, difference).scores, [2, 2])
    labelled = model.replace(labels=("cat", "dog"))
    assert_allclose(attribution.input_x_gradient(labelled, x, "dog").scores, top.scores)
    assert_allclose(attribution.input_x_gradient(labelled, x, ["cat", "dog"]).scores, each.scores)
    hidden = attribution.input_x_gradient(model, x, "lin1:0")
    assert_allclose(hidden.scores, [90, -4])
    assert_allclose(attribution.input_x_gradient(model, x, lambda T: T("lin1")[..., 0].mean()).scores, [90, -4])
