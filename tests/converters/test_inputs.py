"""What an import takes and assumes: wrappers, precisions, channels, labels, outputs, names that a
Model keeps.
"""

import warnings

import numpy as np
import pytest

from converters import from_torch
from jaxlens.errors import AssumedWarning, ConversionError, NonFiniteWarning
from jaxlens.model import Model, Preprocess

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

SIZE, PLAIN = (9, 11), Preprocess()
IMAGES = np.random.default_rng(0).random((2, *SIZE, 3), np.float32)


def body(channels=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()


class Of(nn.Module):
    """A forward function `(module, x)`, and children."""

    def __init__(self, function, **children):
        super().__init__()
        self.function = function
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x):
        return self.function(self, x)


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x.mean((2, 3)) + y


def plain(images):
    with torch.no_grad():
        return body(images.shape[-1])(torch.from_numpy(np.moveaxis(images, -1, 1).copy())).numpy()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_float32_and_the_module_is_left_as_it_was(dtype):
    net = body().to(dtype)
    model = from_torch(net, SIZE, preprocess=PLAIN)
    np.testing.assert_allclose(model(IMAGES), plain(IMAGES), rtol=1e-5 if dtype == torch.float64 else 0.05, atol=1e-2)
    assert net[0].weight.dtype == dtype and model.params["0.kernel"].dtype == np.float32


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, torch.optim.swa_utils.AveragedModel, torch.compile], ids=lambda wrap: wrap.__name__
)
def test_wrappers_are_taken_off(wrap):
    model = Model.from_torch(wrap(body()), SIZE, preprocess=PLAIN)
    assert list(model.layers)[1:3] == ["0", "1"]
    np.testing.assert_allclose(model(IMAGES), plain(IMAGES), rtol=1e-4, atol=1e-5)


def test_an_exported_program_has_its_modules_names():
    program = torch.export.export(body(), (torch.zeros(2, 3, *SIZE),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    model = from_torch(program, SIZE, preprocess=PLAIN)
    assert {"0", "1"} <= set(model.layers)
    np.testing.assert_allclose(model(IMAGES), plain(IMAGES), rtol=1e-4, atol=1e-5)


def test_autocast_is_float32():
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.net(x)

    net = Of(forward, net=body()).eval()
    with torch.no_grad():
        narrow = net(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy())).float().numpy()
    assert np.abs(narrow - plain(IMAGES)).max() > 1e-4  # it is not without effect
    np.testing.assert_allclose(from_torch(net, SIZE, preprocess=PLAIN)(IMAGES), plain(IMAGES), rtol=1e-4, atol=1e-5)


def test_one_channel_gets_averaged_statistics():
    with pytest.warns(AssumedWarning, match=r"mean 0\.449, std 0\.226.*preprocess="):
        model = from_torch(body(1), SIZE)
    grey = IMAGES[..., :1]
    assert model.channels == 1
    np.testing.assert_allclose(model(grey), plain((grey - 0.449) / 0.226), rtol=1e-4, atol=1e-5)


def test_four_channels_get_no_preprocessing_and_nothing_is_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = from_torch(body(4), SIZE)
    assert model.preprocess == PLAIN and model.channels == 4


def test_preprocessing_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="makes 3 channels of 1, and the module takes 1"):
        from_torch(body(1), SIZE, preprocess=Preprocess.mean_std((0.4, 0.5, 0.6), (0.2, 0.2, 0.2)))


def test_a_module_that_divides_by_255_takes_bytes():
    with pytest.warns(AssumedWarning, match=r"values in \[0, 255\]"):
        model = from_torch(Of(lambda self, x: self.body(x / 255), body=body()), SIZE)
    np.testing.assert_allclose(model(IMAGES), plain(IMAGES), rtol=1e-4, atol=1e-5)


def test_labels_of_another_number_are_refused():
    with pytest.raises(ValueError, match="labels has 4 names, but Sequential has 5 outputs"):
        from_torch(body(), SIZE, preprocess=PLAIN, labels=["a"] * 4)


@pytest.mark.parametrize("name", ["input", "labels", "class"])
def test_a_module_of_any_name(name):
    net = Of(lambda self, x: self.body(getattr(self, name)(x)), **{name: nn.Conv2d(3, 3, 1), "body": body()}).eval()
    model = from_torch(net, SIZE, preprocess=PLAIN)
    assert (name if name == "class" else f"{name}_") in model.layers and f"{name}.kernel" in model.params


def test_infinities_that_are_meant_are_equal():
    mask = torch.tensor([0, 0, 0, 0, 1]).bool()
    model = from_torch(Of(lambda self, x: self.body(x).masked_fill(mask, -torch.inf), body=body()), SIZE, preprocess=PLAIN)
    assert np.isneginf(np.asarray(model(IMAGES))[:, 4]).all()


def test_an_output_without_a_batch_axis_is_refused():
    with pytest.raises(ConversionError, match="the first axis must be the batch's"):
        from_torch(Of(lambda self, x: self.body(x).mean(), body=body()), SIZE, preprocess=PLAIN)


def test_weights_that_are_nan_are_named():
    net = body()
    net[4].bias.data[1] = torch.nan
    with pytest.warns(NonFiniteWarning, match=r"(?s)Sequential has weights that are NaN.*4\.bias"):
        from_torch(net, SIZE, preprocess=PLAIN, check=False)


@pytest.mark.parametrize(
    ("module", "size", "message"),
    [
        ({"a": 1}, SIZE, "state dict .* Build the network"),
        (body(), 16, r"input_size=16 must be \(height, width\)"),
        (body(), (16,), r"input_size=\(16,\) must be \(height, width\)"),
        (TwoInputs(), SIZE, "closes over the others"),
    ],
    ids=["dict", "number", "one number", "several inputs"],
)
def test_wrong_arguments_say_what_to_do(module, size, message):
    with pytest.raises((TypeError, ValueError), match=message):
        from_torch(module, size, preprocess=PLAIN)
