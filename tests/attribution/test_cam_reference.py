"""Class activation maps against pytorch-grad-cam in the same process."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens import modelzoo
from jaxlens.attribution import normalize, relu, resize
from jaxlens.attribution.cam import _cam
from jaxlens.attribution.cam._cam import (
    eigen_cam,
    eigen_grad_cam,
    grad_cam,
    grad_cam_elementwise,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    xgrad_cam,
)
from jaxlens.attribution.cam._scores import ablation_cam, score_cam
from tests.attribution.cam_cases import GRADIENT
from tests.helpers import images, relative_error

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
    """The reference's map on the layer's grid, before its ReLU, min-max and resizing; its finished
    map; its activations.
    """
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


@pytest.mark.slow
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
