"""Class activation maps: hand-computed values, pytorch-grad-cam in the same process, and the choice of a layer."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxlens
from jaxlens import modelzoo
from jaxlens.attribution import normalize, relu, resize
from jaxlens.attribution._grid import Grid, grid_of, token_grid
from jaxlens.attribution.cam import _cam
from jaxlens.attribution.cam._cam import (
    METHODS,
    eigen_cam,
    eigen_grad_cam,
    grad_cam,
    grad_cam_elementwise,
    grad_cam_plus_plus,
    guided_grad_cam,
    hires_cam,
    layer_cam,
    random_cam,
    xgrad_cam,
)
from jaxlens.attribution.cam._default_layer import _survey
from jaxlens.attribution.cam._scores import ablation_cam, score_cam
from jaxlens.model import IMAGENET, Model
from jaxlens.modelzoo._load import architecture
from jaxlens.optvis import objectives
from tests.helpers import images, relative_error, small_model

site = jaxlens.site
GRADIENT = [grad_cam, grad_cam_plus_plus, xgrad_cam, hires_cam, grad_cam_elementwise, layer_cam, eigen_grad_cam]
ALL = [*GRADIENT, eigen_cam, score_cam, ablation_cam, random_cam]
SIZE = (8, 12)


# captum's toys


@functools.cache
def one_conv():
    """captum's OneConv: x = 16 * image, a convolution of ones to 2 channels, and a layer that takes the last 3 of 8 off."""

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


@functools.cache
def pooled(k=6, bias=-0.7):
    """Convolution, ReLU, global average pool, linear: every gradient-based map is the same one."""
    keys = jax.random.split(jax.random.key(1), 2)
    params = {
        "kernel": jax.random.normal(keys[0], (3, 3, 3, k)),
        "u": jax.random.normal(keys[1], (k, 4)) * jnp.asarray([[1, 1, 1, -1.0]]),
    }

    def forward(params, x):
        y = jax.lax.conv_general_dilated(x, params["kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        y = site("features", jax.nn.relu)(y)
        return y.mean((1, 2)) @ params["u"] + bias

    return Model.from_function(forward, params, preprocess=lambda x: x, input_size=SIZE), params["u"], bias


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
    """Gradients equal to activations with sums 4, 2, 1.5 and 0.5 over a 2x2 map weigh 1, 0.5, 0.375 and 0.125."""

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


# pytorch-grad-cam in the same process

NAMES = {
    grad_cam: "GradCAM", grad_cam_plus_plus: "GradCAMPlusPlus", xgrad_cam: "XGradCAM", hires_cam: "HiResCAM",
    grad_cam_elementwise: "GradCAMElementWise", layer_cam: "LayerCAM", eigen_cam: "EigenCAM", eigen_grad_cam: "EigenGradCAM",
    score_cam: "ScoreCAM", ablation_cam: "AblationCAM",
}  # fmt: skip


def peer(monkeypatch):
    """pytorch-grad-cam, silent, and without `align_corners` in its Score-CAM."""
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("pytorch_grad_cam")
    half_pixel = functools.partial(torch.nn.Upsample, mode="bilinear", align_corners=False)
    monkeypatch.setattr(torch.nn, "UpsamplingBilinear2d", half_pixel)
    for module in ("score_cam", "ablation_cam"):
        tqdm = sys.modules[f"pytorch_grad_cam.{module}"].tqdm
        monkeypatch.setattr(tqdm, "tqdm", lambda iterable, *args, **kwargs: iterable)
    return library


def raw(library, name, net, layer, x, classes):
    """The reference's map on the layer's grid, before its ReLU, min-max and resizing; its finished map; its activations."""
    targets, kept = [library.utils.model_targets.ClassifierOutputTarget(c) for c in classes], {}
    with getattr(library, name)(model=net, target_layers=[layer]) as cam:
        inner = cam.get_cam_image

        def get_cam_image(x, layer, targets, activations, gradients, smooth):
            kept["map"], kept["a"] = inner(x, layer, targets, activations, gradients, smooth), activations
            return kept["map"]

        cam.get_cam_image = get_cam_image
        done = cam(input_tensor=x, targets=targets)
    return np.asarray(kept["map"]), done, kept["a"]


def compared(method, found, reference, a):
    """The relative difference, after the reference's random signs are set right."""
    if method in (eigen_cam, eigen_grad_cam):
        own = np.asarray(found).reshape(len(found), -1)
        signs = np.sign((own * reference.reshape(len(found), -1)).sum(1))
        reference = signs[:, None, None] * reference
        if method is eigen_cam:
            total = a.sum(1).reshape(len(found), -1)
            assert ((own * (total - total.mean(1, keepdims=True))).sum(1) > 0).all()
    return relative_error(found, reference)


@functools.cache
def torch_net():
    import torch
    from torch import nn

    from converters import from_torch

    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 10, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(10 * 3 * 4, 5),
    ).eval()  # fmt: skip
    net[-1].weight.data *= 10  # so that a softmax of scores tells channels apart
    return net, from_torch(net, (14, 18), preprocess=jnp.asarray, check=False)


@pytest.mark.parametrize("method", NAMES, ids=NAMES.get)
@pytest.mark.parametrize("layer", ["1", "3"])
def test_against_grad_cam(method, layer, monkeypatch):
    library = peer(monkeypatch)
    import torch

    net, model = torch_net()
    x = np.asarray(images(3, (14, 18)))
    tensor = torch.tensor(x.transpose(0, 3, 1, 2))
    logits = net(tensor).detach().numpy()
    classes = [4, 0, 2] if method is not ablation_cam else logits.argmax(1).tolist()
    reference, done, a = raw(library, NAMES[method], net, net[int(layer)], tensor, classes)
    found = method(model, x, classes, layer=layer)
    assert found.values.shape == (3, *a.shape[2:], 1)
    assert compared(method, found.values[..., 0], reference, a) < 1e-3
    if method in (grad_cam, layer_cam):  # the finished map too, by our named steps
        ours = normalize(resize(normalize(relu(found.values)), (14, 18)))[..., 0]
        assert np.abs(np.asarray(ours) - done).max() < 1e-3
    if method in (grad_cam, score_cam):  # a control: another target is another map
        other = method(model, x, [1, 1, 1], layer=layer).values[..., 0]
        assert relative_error(other, reference) > 0.01
    if method is ablation_cam:  # where the logit is negative the reference turns the map round
        lowest = logits.argmin(1).tolist()
        assert (logits.min(1) < 0).all()
        reference, _, _ = raw(library, "AblationCAM", net, net[int(layer)], tensor, lowest)
        assert relative_error(method(model, x, lowest, layer=layer).values[..., 0], -reference) < 1e-3


def test_the_references_eigen_cam_has_either_sign(monkeypatch):
    peer(monkeypatch)
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    a = np.abs(np.asarray(jax.random.normal(jax.random.key(3), (16, 4, 3, 5))))
    total = a.sum(1) - a.sum(1).mean((1, 2), keepdims=True)
    assert set(np.sign((get_2d_projection(a) * total).sum((1, 2)))) == {-1, 1}
    ours = np.asarray(_cam.principal(jnp.asarray(a.transpose(0, 2, 3, 1))))[..., 0]
    assert ((ours * total).sum((1, 2)) > 0).all()


def test_squeezenet_on_photographs(shared_data, monkeypatch):
    """Every variant, real weights, two photographs of 96x128."""
    library = peer(monkeypatch)
    import torch
    import torchvision
    from PIL import Image

    weights = shared_data / "squeezenet1_1.pth"
    net = torchvision.models.squeezenet1_1(weights=None).eval()
    net.load_state_dict(torch.load(weights, weights_only=True))
    for module in net.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    model = modelzoo.load("squeezenet1_1", weights)
    files = [shared_data / "imagenet_samples" / name for name in ("n02099601_golden_retriever.jpg", "n01882714_koala.jpg")]
    x = np.stack([np.asarray(Image.open(path).convert("RGB").resize((128, 96)), np.float32) / 255 for path in files])
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    tensor = torch.tensor(((x - mean) / deviation).transpose(0, 3, 1, 2))
    classes = net(tensor).argmax(1).tolist()
    for method in (*GRADIENT, eigen_cam):
        reference, _, a = raw(library, NAMES[method], net, net.features, tensor, classes)
        found = method(model, x)
        assert found.layer == "features" and found.values.shape == (2, 5, 7, 1)
        error = compared(method, found.values[..., 0], reference, a)
        print(f"{method.__name__} {error:.2g}")
        assert error < 1e-3, method.__name__
    for method, options in ((score_cam, {"baseline": np.broadcast_to(mean, (96, 128, 3))}), (ablation_cam, {})):
        # at a layer of fewer channels; the mean colour is the 0 of normalised images
        reference, _, a = raw(library, NAMES[method], net, net.features[3], tensor[:1], classes[:1])
        found = method(model, x[:1], layer="features.3", progress=False, **options)
        error = relative_error(found.values[..., 0], reference)
        print(f"{method.__name__} {error:.2g}")
        assert error < 1e-3, method.__name__


# properties of all


@pytest.mark.parametrize("method", ALL, ids=lambda f: f.__name__)
def test_chunks_batches_and_jit(method):
    model, _, _ = pooled()
    x, quiet = images(2, SIZE), {"progress": False} if method in (score_cam, ablation_cam) else {}
    whole = method(model, x, 1, **quiet)
    assert whole.values.shape == (2, 4, 6, 1) and whole.layer == "features" and whole.delta is None
    assert relative_error(method(model, x, 1, batch_size=1, **quiet).values, whole.values) < 1e-4
    assert relative_error(method(model, x[1:2], 1, **quiet).values, whole.values[1:2]) < 1e-4
    inside = jax.jit(lambda x: method(model, x, 1, **quiet))(x)
    assert relative_error(inside.values, whole.values) < 1e-4 and inside.layer == "features"
    if method not in (eigen_cam, random_cam):  # these do not depend on the target
        assert relative_error(method(model, x, 2, **quiet).values, whole.values) > 0.01


def test_random_cam_is_the_keys():
    model, _, _ = pooled()
    x = images(2, SIZE)
    a = jaxlens.activations(model, x, ["features"])["features"]
    first = random_cam(model, x, 0, seed=3).values
    weights = jax.random.uniform(jax.random.key(3), (1, 1, 1, 6), minval=-1, maxval=1)
    assert relative_error(first, (weights * a).sum(-1, keepdims=True)) < 1e-6
    assert relative_error(random_cam(model, x, 0, seed=jax.random.key(3)).values, first) == 0
    assert relative_error(random_cam(model, x, 0, seed=4).values, first) > 0.01


def test_methods_without_gradient_take_none():
    @jax.custom_vjp
    def forward_only(x):
        return x

    def refuse(*args):
        raise RuntimeError("a gradient was taken")

    forward_only.defvjp(lambda x: (x, None), refuse)

    def forward(params, x):
        return forward_only(site("maps", lambda x: 2 * x)(x)).mean((1, 2)) @ jnp.ones((3, 2))

    model = Model.from_function(forward, {}, preprocess=lambda x: x, input_size=SIZE)
    for method in (eigen_cam, score_cam, ablation_cam, random_cam):
        assert method(model, images(1, SIZE), 0, layer="maps").values.shape == (1, *SIZE, 1)
    with pytest.raises(RuntimeError, match="a gradient was taken"):
        grad_cam(model, images(1, SIZE), 0, layer="maps")


def test_targets():
    """Objectives at layers in the middle, and one target per image."""
    model, x = small_model(), images(2)
    deep = grad_cam(model, x, "blocks.1.conv1:3")
    assert deep.layer == "blocks.0" and deep.values.shape[1:3] == model.layers["blocks.0"].shape[:2]
    same = grad_cam(model, x, objectives.channel("blocks.1.conv1", 3), layer="blocks.0").values
    assert relative_error(deep.values, same) == 0
    each = hires_cam(model, x, [1, 4]).values
    assert relative_error(each[1], hires_cam(model, x, 4).values[1]) < 1e-5
    assert relative_error(each[0], hires_cam(model, x, 4).values[0]) > 0.01
    top = np.argmax(model(x), -1)
    assert relative_error(hires_cam(model, x).values, hires_cam(model, x, top).values) == 0


# grids and layers


def test_token_grids():
    assert token_grid(197, (224, 224)) == Grid(14, 14, 1)
    assert token_grid(50, (224, 224)) == Grid(7, 7, 1)
    assert token_grid(196, (224, 224)) == Grid(14, 14, 0)
    assert token_grid(5 + 2 * 3, (32, 48)) == Grid(2, 3, 5)
    assert token_grid(1 + 4 + 37 * 37, (518, 518)) == Grid(37, 37, 5)
    assert token_grid(2 + 8, (8, 16)) == Grid(2, 4, 2)
    assert token_grid(9 + 7 * 7, (224, 224)) is None  # more extra tokens than there ever are
    assert token_grid(20, (224, 192)) is None  # patches of 32 at most divide both sides
    assert grid_of("x", (7, 9, 4), (224, 288)) == Grid(7, 9) and grid_of("x", (512,), (224, 224)) is None
    assert grid_of("a.attention_weights", (12, 50, 50), (224, 224)) is None
    values = jnp.arange(2 * 11 * 3.0).reshape(2, 11, 3)
    maps = Grid(2, 3, 5).maps(values)
    assert maps.shape == (2, 2, 3, 3) and maps[1, 1, 0].tolist() == values[1, 5 + 3].tolist()


@pytest.mark.parametrize(
    ("name", "size", "layer"),
    [
        ("squeezenet1_1", (96, 128), "features"),
        ("resnet18", (96, 128), "layer4"),
        ("swin_t", (96, 128), "norm"),
        ("lensnet", (64, 80), "mixed5b"),
        ("alexnet", (96, 128), "features"),
        ("vit_b_32", (224, 224), "encoder.layers.encoder_layer_11.ln_1"),
    ],
)
def test_default_layer(name, size, layer):
    model = Model.from_nnx(architecture(name), preprocess=IMAGENET, input_size=(224, 224))  # shapes in place of weights
    assert _survey(model.architecture, size, ("logits",)).default == layer


class Classes(nnx.Module):
    """Features with as many channels as there are classes; then a linear layer after a pool, or before it as a convolution."""

    def __init__(self, first, rngs):
        self.conv = nnx.Conv(3, 5, (3, 3), rngs=rngs)
        self.head = nnx.Conv(5, 5, (1, 1), rngs=rngs) if first else nnx.Linear(5, 5, rngs=rngs)
        self.drop, self.first = nnx.Dropout(0.5), first

    def __call__(self, x):
        x = self.drop(jax.nn.relu(self.conv(x)))
        return self.head(x).mean((1, 2)) if self.first else self.head(x.mean((1, 2)))


@pytest.mark.parametrize("first", [False, True])
def test_default_layer_is_not_the_class_maps(first):
    """Found by what the target sees, not by counting channels; and not the dropout, which changes nothing."""
    model = Model.from_nnx(Classes(first, nnx.Rngs(0)), preprocess=IMAGENET, input_size=SIZE)
    found = grad_cam(model, images(1, SIZE), 0)
    assert found.layer == "conv"


def test_layers_that_have_no_map():
    model, x = small_model(), images(1)
    with pytest.raises(ValueError, match=r"layer='head' of small has shape \(5,\).*it is a vector.*'blocks.1' \("):
        grad_cam(model, x, 0, layer="head")
    with pytest.raises(ValueError, match="not on the way to the target"):
        grad_cam(model, x, "blocks.0:3", layer="blocks.1")
    with pytest.raises(LookupError, match="blocks.1"):
        grad_cam(model, x, 0, layer="blocks.1.conv9")
    vector = Model.from_function(
        lambda p, x: x.reshape(len(x), -1) @ jnp.ones((96 * 3, 2)), {}, preprocess=IMAGENET, input_size=SIZE
    )
    with pytest.raises(ValueError, match="has no layer on a grid that the target .* sees whole"):
        grad_cam(vector, images(1, SIZE), 0)


def test_tables_are_whole():
    assert {method.__name__ for method in [*GRADIENT, eigen_cam]} == set(METHODS)
