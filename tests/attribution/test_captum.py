"""Against captum in one process: SqueezeNet 1.1 with its real weights, on photographs."""

import copy

import jax.numpy as jnp
import numpy as np
import pytest

from jaxlens import attribution, modelzoo
from jaxlens.data import load_image

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
captum = pytest.importorskip("captum.attr")

pytestmark = pytest.mark.filterwarnings("ignore:Setting:UserWarning")  # captum says that it sets hooks

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
SIZE, TARGETS, LAYER = (64, 80), [3, 281], "features.9"
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def networks():
    from tests.conftest import SHARED

    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: real weights and photographs are needed.")
    weights = SHARED / "squeezenet1_1.pth"
    net = torchvision.models.squeezenet1_1()
    net.load_state_dict(torch.load(weights, weights_only=True))
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # captum's hooks need what went in
    photographs = [load_image(path, SIZE) for path in sorted((SHARED / "imagenet_samples").glob("*.jpg"))[: len(TARGETS)]]
    return net.eval(), modelzoo.load("squeezenet1_1", weights=str(weights)), np.stack(photographs)


def normalised(images):
    """What the PyTorch network eats: gradients by it are the image's times STD; products with
    differences are the same.
    """
    return torch.tensor((images - MEAN) / STD).permute(0, 3, 1, 2).contiguous().requires_grad_()


def nhwc(tensor):
    array = tensor.detach().numpy()
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


@pytest.fixture(scope="module")
def both(networks):
    net, model, images = networks
    black = normalised(np.zeros_like(images)).detach()
    return net, model, images, normalised(images), black


def close(ours, theirs, tolerance=TOLERANCE):
    """The Euclidean length of the difference: a point of a path at which a ReLU is about to turn
    may turn it by rounding.
    """
    ours, length = np.asarray(ours), np.linalg.norm(theirs)
    error = np.linalg.norm(ours - theirs) / length
    assert error <= tolerance, error
    assert np.linalg.norm(np.roll(ours, 1, axis=1) - theirs) > 0.1 * length  # the control: a shifted map is another one


def test_saliency(both):
    net, model, images, x, _ = both
    theirs = nhwc(captum.Saliency(net).attribute(x, target=TARGETS)) / STD
    close(attribution.saliency(model, images, TARGETS).values, theirs)


def test_input_x_gradient(both):
    """captum's input is normalised: its zero is the mean colour, ours is black. The difference is
    `mean * gradient`.
    """
    net, model, images, x, _ = both
    theirs = nhwc(captum.InputXGradient(net).attribute(x, target=TARGETS))
    ours = attribution.input_x_gradient(model, images, TARGETS).values
    gradient = attribution.saliency(model, images, TARGETS, sign="all").values
    close(ours - MEAN[None, None, None] * gradient, theirs)


def test_layer_gradient_x_activation(both):
    net, model, images, x, _ = both
    theirs = nhwc(captum.LayerGradientXActivation(net, net.features[9]).attribute(x, target=TARGETS))
    close(attribution.input_x_gradient(model, images, TARGETS, layer=LAYER).values, theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "method"), [("gausslegendre", "gausslegendre"), ("middle", "riemann_middle"), ("left", "riemann_left")]
)
def test_integrated_gradients(both, rule, method):
    net, model, images, x, black = both
    theirs = nhwc(captum.IntegratedGradients(net).attribute(x, black, target=TARGETS, n_steps=20, method=method))
    ours = attribution.integrated_gradients(model, images, TARGETS, steps=20, quadrature=rule, tolerance=None)
    # near black many units are about to turn: there PyTorch's gradient in float32 is as far from
    # its own in float64 as ours is
    close(ours.values, theirs, 1e-2)


def test_captums_trapezoid_loses_a_share_of_everything(both):
    """Its weights add up to (n - 1) / n: ours, times that, is captum's. (At the black end every
    max-pool ties.)
    """
    net, model, images, x, black = both
    theirs = nhwc(captum.IntegratedGradients(net).attribute(x, black, target=TARGETS, n_steps=20, method="riemann_trapezoid"))
    ours = attribution.integrated_gradients(model, images, TARGETS, steps=20, quadrature="trapezoid", tolerance=None)
    close(ours.values * 19 / 20, theirs, 3e-3)
    assert np.linalg.norm(ours.values - theirs) > 0.03 * np.linalg.norm(theirs)


def test_layer_integrated_gradients(both):
    """captum's follows the layer's values along the image's path, ours a straight line: equal if
    linear above.
    """
    net, model, images, x, black = both
    layer = captum.LayerIntegratedGradients(net, net.classifier[1])
    theirs = nhwc(layer.attribute(x, black, target=TARGETS, n_steps=20))
    ours = attribution.integrated_gradients(model, images, TARGETS, layer="classifier.1", steps=20, tolerance=None)
    close(ours.values, theirs)


@pytest.mark.slow
def test_guided_backprop_and_deconvnet(both):
    net, model, images, x, _ = both
    for theirs, ours in ((captum.GuidedBackprop, attribution.guided_backprop), (captum.Deconvolution, attribution.deconvnet)):
        found = nhwc(theirs(copy.deepcopy(net)).attribute(x, target=TARGETS)) / STD
        close(ours(model, images, TARGETS).values, found)


@pytest.mark.slow
def test_smooth_grad_given_the_same_noise(both):
    """The two draw different noise; without any they are equal, and with it our statistics are
    those of our own draws.
    """
    net, model, images, x, _ = both
    tunnel = captum.NoiseTunnel(captum.Saliency(net))
    theirs = nhwc(tunnel.attribute(x, target=TARGETS, nt_samples=2, stdevs=0.0, nt_type="smoothgrad_sq", abs=False)) / STD**2
    close(attribution.smooth_grad_squared(model, images, TARGETS, samples=2, sigma=0.0).values, theirs)


@pytest.mark.slow
def test_conductance(both):
    """captum takes the gradient at the left of each step, and by default steps between Gauss-
    Legendre points, which do not reach the
    ends: its numbers add up to less than the difference in score. On points
    that reach them the two agree.
    """
    net, model, images, x, black = both
    method = captum.LayerConductance(net, net.features[9])
    theirs = nhwc(method.attribute(x, black, target=TARGETS, n_steps=20, method="riemann_trapezoid"))
    ours = attribution.conductance(model, images, TARGETS, layer=LAYER, steps=20, at="left")
    close(ours.values, theirs)
    middle = attribution.conductance(model, images, TARGETS, layer=LAYER, steps=20)
    assert float(np.abs(middle.delta).sum()) < float(np.abs(ours.delta).sum())  # why the middle is the default


@pytest.mark.slow
def test_neuron_conductance_and_internal_influence(both):
    net, model, images, x, black = both
    place = (5, 1, 2)  # captum's order: channel, row, column
    ours = attribution.neuron_conductance(
        model, images, TARGETS, layer=LAYER, neuron=(1, 2, 5), steps=10, at="middle", batch_size=7
    )
    points = captum.NeuronConductance(net, net.features[9]).attribute(
        x, place, black, target=TARGETS, n_steps=10, method="riemann_middle"
    )
    close(ours.values, nhwc(points))
    influence = captum.InternalInfluence(net, net.features[9]).attribute(x, black, target=TARGETS, n_steps=10)
    close(attribution.internal_influence(model, images, TARGETS, layer=LAYER, steps=10).values, nhwc(influence))


class Same(torch.nn.Module):
    """Between a ReLU and a max-pool: without it captum's shares before and after the ReLU differ,
    which Rescale forbids.
    """

    def forward(self, x):
        return 1.0 * x


def captums_deep_lift(net, x, black, layer=None):
    net = copy.deepcopy(net)
    net.features[1] = torch.nn.Sequential(net.features[1], Same())
    method = captum.DeepLift(net) if layer is None else captum.LayerDeepLift(net, net.features[layer])
    return method.attribute(x, black, target=TARGETS, return_convergence_delta=True)


def test_deep_lift_above_the_pools(both):
    net, model, images, x, black = both
    theirs, _ = captums_deep_lift(net, x, black, layer=9)
    close(attribution.deep_lift(model, images, TARGETS, layer=LAYER).values, nhwc(theirs))


@pytest.mark.slow
def test_deep_lift_of_the_image(both):
    """With pools that do not overlap. Where they do, as in SqueezeNet, captum writes the shares of
    windows over each other
    (`max_unpool2d`) and is not complete; ours adds them up and is."""
    from converters import from_torch
    from jaxlens.model import IMAGENET

    net, model, images, x, black = both
    found = attribution.deep_lift(model, images, TARGETS)
    change = float(np.abs(found.scores - found.baseline_scores).max())
    assert float(np.abs(found.delta).max()) <= 1e-5 * change
    assert float(captums_deep_lift(net, x, black)[1].abs().min()) > 0.01 * change
    apart = copy.deepcopy(net)
    for pool in (module for module in apart.modules() if isinstance(module, torch.nn.MaxPool2d)):
        pool.kernel_size = 2
    ours = attribution.deep_lift(from_torch(apart, input_size=SIZE, preprocess=IMAGENET), images, TARGETS)
    close(ours.values, nhwc(captums_deep_lift(apart, x, black)[0]))


@pytest.mark.slow
def test_lrp():
    """Of an importer's model, with captum's rules on every module."""
    from captum.attr._utils import lrp_rules

    from converters import from_torch

    torch.manual_seed(0)

    class Flat(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)

    parts = [torch.nn.Conv2d(3, 6, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(6, 8, 3)]
    net = torch.nn.Sequential(*parts, torch.nn.ReLU(), Flat(), torch.nn.Linear(8 * 2 * 4, 5)).eval()
    images = np.random.RandomState(0).rand(2, 8, 12, 3).astype(np.float32)
    rules = {"epsilon": lrp_rules.EpsilonRule, "gamma": lrp_rules.GammaRule, "alpha_beta": lrp_rules.Alpha1_Beta0_Rule}
    for name, rule in rules.items():
        for module in net:
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear | Flat):
                module.rule = lrp_rules.EpsilonRule() if isinstance(module, Flat) else rule()
            if name == "alpha_beta" and hasattr(module, "bias"):  # captum's leaves biases out of the signs
                module.bias.data.zero_()
        x = torch.tensor(images).permute(0, 3, 1, 2).requires_grad_()
        theirs = nhwc(captum.LRP(net).attribute(x, target=2))
        model = from_torch(net, input_size=(8, 12), preprocess=jnp.asarray)
        close(attribution.lrp(model, images, 2, rule=name).values, theirs, 1e-4)
