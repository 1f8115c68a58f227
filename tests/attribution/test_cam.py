"""Class activation maps against hand-computed values: captum's toys, and networks whose maps are
known.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlens
from jaxlens import site
from jaxlens.attribution import normalize
from jaxlens.attribution.cam import _cam
from jaxlens.attribution.cam._cam import (
    grad_cam,
    grad_cam_elementwise,
    grad_cam_plus_plus,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    xgrad_cam,
)
from jaxlens.attribution.cam._scores import ablation_cam, score_cam
from jaxlens.model import Model
from tests.attribution.cam_cases import SIZE, pooled
from tests.helpers import images, relative_error

# captum's toys


@functools.cache
def one_conv():
    """captum's OneConv: x = 16 * image, a convolution of ones to 2 channels, and a layer that takes
    the last 3 of 8 off.
    """

    def forward(params, x):
        kernel = jnp.ones((3, 3, 1, 2))
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        y = site("conv1", lambda y: y + jnp.asarray([-50.0, -75.0]).reshape(1, 1, 1, 2))(y)
        y = site("relu1", jax.nn.relu)(y)
        flat = y.transpose(0, 3, 1, 2).reshape(-1, 8)
        rows = jnp.asarray([[1, 1, 1, 1, 1, -1, -1, -1]] * 4, jnp.float32)
        return site("relu2", jax.nn.relu)(site("fc", lambda y: y @ rows.T)(flat))

    model = Model.from_function(forward, {}, preprocess=lambda x: 16.0 * x, input_size=(4, 4), channels=1)
    return model, jnp.arange(16.0).reshape(1, 4, 4, 1) / 16


def test_captums_one_conv():
    model, image = one_conv()
    found = grad_cam(model, image, 0, layer="conv1")
    assert found.scores.tolist() == [54] and found.layer == "conv1" and found.method == "grad_cam"
    np.testing.assert_allclose(found.values[0, :, :, 0], [[11.25, 13.5], [20.25, 22.5]], rtol=1e-6)
    parts = grad_cam(model, image, 0, layer="conv1", per_channel=True).values[0]
    np.testing.assert_allclose(parts[:, :, 0], [[-3.75, 3], [23.25, 30]], rtol=1e-6)
    np.testing.assert_allclose(parts[:, :, 1], [[15, 10.5], [-3, -7.5]], rtol=1e-6)
    np.testing.assert_allclose(grad_cam(model, image, 0, layer="relu1").values[0, :, :, 0], [[0, 4], [28, 32.5]], rtol=1e-6)


def test_captums_guided_grad_cam():
    model, image = one_conv()
    found = guided_grad_cam(model, image, 0, layer="relu1", interpolation="nearest")
    known = [[0, 0, 4, 4], [0, 0, 12, 8], [28, 84, 97.5, 65], [28, 56, 65, 32.5]]
    np.testing.assert_allclose(found.values[0, :, :, 0] / 16, known, rtol=1e-6)  # per unit of the image, not of x
    assert found.layer == "input" and found.values.shape == image.shape
    smooth = guided_grad_cam(model, image, 0, layer="relu1").values  # the paper's; a control: the option does something
    guided = jnp.asarray([[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]])
    torch = pytest.importorskip("torch")
    up = torch.nn.functional.interpolate(torch.tensor([[[[0, 4], [28, 32.5]]]]), (4, 4), mode="bilinear").numpy()[0, 0]
    np.testing.assert_allclose(smooth[0, :, :, 0] / 16, guided * up, rtol=1e-5)
    with pytest.raises((ValueError, TypeError), match="interpolation"):
        guided_grad_cam(model, image, 0, layer="relu1", interpolation="cubic")


def test_captums_multilayer_as_a_map_of_one_position():
    def forward(params, x):
        x = site("lin0", lambda x: x)(x.transpose(0, 1, 3, 2))  # [B, 1, 1, 3]
        x = x.reshape(-1, 3) @ jnp.ones((3, 4)) + jnp.asarray([[-10.0, 1, 1, 1]])
        return jax.nn.relu(x) @ jnp.ones((4, 2)) + jnp.asarray([[-1.0, 1]])

    model = Model.from_function(forward, {}, preprocess=lambda x: 128.0 * x, input_size=(1, 3), channels=1)
    image = jnp.asarray([0.0, 100, 0]).reshape(1, 1, 3, 1) / 128
    found = grad_cam(model, image, 0, layer="lin0")
    assert found.values.tolist() == [[[[400]]]] and found.scores.tolist() == [392]


# networks whose maps are known


def test_pool_and_linear():
    model, u, bias = pooled()
    x = images(3, SIZE)
    classes = [0, 3, 2]
    a = np.asarray(jaxlens.activations(model, x, ["features"])["features"])
    w = np.asarray(u)[:, classes].T[:, None, None]  # [B, 1, 1, K]
    h, v, y = a.shape[1], a.shape[2], np.asarray(model(x))[np.arange(3), classes]
    cam = (w * a).sum(-1, keepdims=True)
    assert (h, v) == (4, 6)
    for method in (grad_cam, xgrad_cam, hires_cam):
        found = method(model, x, classes)  # the layer found by itself
        assert found.layer == "features" and found.method == method.__name__
        assert relative_error(found.values, cam / (h * v)) < 1e-5, method
        np.testing.assert_allclose(found.scores, y, rtol=1e-5)
    np.testing.assert_allclose(hires_cam(model, x, classes).values.sum((1, 2, 3)), y - bias, rtol=1e-4)
    assert relative_error(layer_cam(model, x, classes).values, (np.maximum(w, 0) * a).sum(-1, keepdims=True) / (h * v)) < 1e-5
    elementwise = np.maximum(w * a, 0).sum(-1, keepdims=True) / (h * v)
    assert relative_error(grad_cam_elementwise(model, x, classes).values, elementwise) < 1e-5
    plus = (w * a / (h * v)).sum(-1, keepdims=True)  # a control: Grad-CAM++ weighs otherwise
    assert relative_error(grad_cam_plus_plus(model, x, classes).values, plus) > 0.1
    weights = w[:, 0, 0] * a.mean((1, 2)) / np.abs(y)[:, None]
    ablated = (weights[:, None, None] * a).sum(-1, keepdims=True)
    assert relative_error(ablation_cam(model, x, classes, progress=False).values, ablated) < 1e-4
    assert (y < 0).any() and (y > 0).any()  # so that the division by |y| is seen


@pytest.mark.slow
def test_score_cam_by_hand():
    model, _, _ = pooled()
    x, classes = images(2, SIZE), [0, 3]
    a = jaxlens.activations(model, x, ["features"])["features"]
    up = jax.image.resize(a, (2, *SIZE, 6), "bilinear")
    low, high = up.min((1, 2), keepdims=True), up.max((1, 2), keepdims=True)
    masks = (up - low) / jnp.where(high > low, high - low, 1)  # a channel may be dead
    seen = jnp.moveaxis(x[..., None] * masks[:, :, :, None], -1, 1).reshape(12, *SIZE, 3)
    score = np.stack([row[:, c] for row, c in zip(np.asarray(model(seen)).reshape(2, 6, 4), classes, strict=True)])
    weights = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    found = score_cam(model, x, classes, progress=False)
    assert relative_error(found.values[..., 0], (weights[:, None, None] * np.asarray(a)).sum(-1)) < 1e-4
    assert found.baseline_scores is None and found.layer == "features"
    black = np.asarray(model(jnp.zeros_like(x)))[[0, 1], classes]
    rise = score_cam(model, x, classes, weights="increase", progress=False)
    assert relative_error(rise.values[..., 0], ((score - black[:, None])[:, None, None] * np.asarray(a)).sum(-1)) < 1e-4
    np.testing.assert_allclose(rise.baseline_scores, black, rtol=1e-5)
    grey = score_cam(model, x, classes, baseline=0.5, progress=False).values
    assert relative_error(grey, found.values) > 0.01
    most = np.argsort(-np.abs(np.asarray(a)).mean((1, 2)), axis=1)[:, :2]
    few = score_cam(model, x, classes, weights="increase", channels=2, progress=False).values[..., 0]
    rest = [sum((score[b, k] - black[b]) * np.asarray(a)[b, :, :, k] for k in most[b]) for b in (0, 1)]
    assert relative_error(few, rest) < 1e-4
    with pytest.raises(ValueError, match="channels=7 must be an integer in 1..6"):
        score_cam(model, x, classes, channels=7)
    with pytest.raises((ValueError, TypeError), match="weights"):
        score_cam(model, x, classes, weights="none")


def test_ablation_cam_of_a_few_channels():
    model, u, _ = pooled()
    x = images(2, SIZE)
    parts = ablation_cam(model, x, 1, channels=2, progress=False).values
    a, y = np.asarray(jaxlens.activations(model, x, ["features"])["features"]), np.asarray(model(x))[:, 1]
    for b in range(2):
        most = np.argsort(-np.abs(a[b]).mean((0, 1)))[:2]
        known = sum(np.asarray(u)[k, 1] * a[b, :, :, k].mean() / abs(y[b]) * a[b, :, :, k] for k in most)
        assert relative_error(parts[b, :, :, 0], known) < 1e-4


def test_xpliques_grad_cam():
    """Gradients equal to activations with sums 4, 2, 1.5 and 0.5 over a 2x2 map weigh 1, 0.5, 0.375
    and 0.125.
    """

    def forward(params, x):
        a = site("maps", lambda x: x)(x)
        return 0.5 * jnp.square(a).sum((1, 2, 3))[:, None]

    model = Model.from_function(forward, {}, preprocess=lambda x: 4.0 * x, input_size=(2, 2), channels=4)
    shares = jnp.asarray([[0.1, 0.2], [0.3, 0.4]])[None, :, :, None]
    a = shares * jnp.asarray([4.0, 2, 1.5, 0.5]).reshape(1, 1, 1, 4)
    parts = grad_cam(model, a / 4, 0, layer="maps", per_channel=True).values
    np.testing.assert_allclose(parts, a * jnp.asarray([1, 0.5, 0.375, 0.125]).reshape(1, 1, 1, 4), rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4, 20), (6, 7, 5)])  # by the Gram matrix of positions, and by that of channels
def test_principal_component(shape):
    principal = jax.jit(_cam.principal)
    keys = jax.random.split(jax.random.key(0), 3)
    planted = jax.random.uniform(keys[0], (4, *shape[:2], 1))
    weights = jax.random.uniform(keys[1], (4, 1, 1, shape[2]), minval=-0.3, maxval=1)
    found = principal(planted * weights)
    size = jnp.linalg.norm(weights, axis=-1, keepdims=True)
    assert relative_error(found, size * (planted - planted.mean((1, 2), keepdims=True))) < 1e-4
    assert relative_error(normalize(found), normalize(planted)) < 1e-4
    assert relative_error(principal(-planted * weights), -found) < 1e-4  # the sign is that of what there is
    noise = jax.random.normal(keys[2], (4, *shape))
    rows = np.asarray(noise).reshape(4, -1, shape[2])
    rows = rows - rows.mean(1, keepdims=True)
    first = np.linalg.svd(rows)[2][:, 0]
    known = np.abs((rows @ first[..., None])[..., 0])
    assert relative_error(np.abs(principal(noise).reshape(4, -1)), known) < 1e-3
    assert relative_error(principal(1e-20 * noise), 1e-20 * principal(noise)) < 1e-3  # small gradients do not vanish
    assert not np.asarray(principal(jnp.ones((1, *shape)))).any()
