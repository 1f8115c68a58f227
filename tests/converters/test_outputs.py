"""What modules return and take: several outputs under any names, values that are finite for pixels
only.
"""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from converters import _gradients, from_torch
from jaxlens.errors import NonFiniteWarning
from jaxlens.model import Preprocess
from tests.helpers import relative_error

SIZE = (12, 16)
OPTIONS = {"input_size": SIZE, "preprocess": Preprocess()}


class Several(nn.Module):
    """Two heads and a loss, put together by `shape`."""

    def __init__(self, together):
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), nn.Linear(4, 8)
        self.together = together

    def forward(self, x):
        x = self.conv(x).mean((2, 3))
        return self.together(self.a(x), self.b(x))


SHAPES = {
    "sorted": lambda a, b: {"aux": b, "out": a},
    "not sorted": lambda a, b: {"out": a, "aux": b},
    "a loss": lambda a, b: {"out": a, "aux": b.sum()},
    "more than ten": lambda a, b: (*(a + i for i in range(11)), b),
    "nested": lambda a, b: {"z": {"y": a, "x": b}, "a": [b, a]},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.filterwarnings("ignore:from_torch.Several. assumes that the first")
def test_outputs_of_any_names_in_any_order(name):
    torch.manual_seed(0)
    net = Several(SHAPES[name]).eval()
    path = {"more than ten": 10, "nested": ("z", "y"), "sorted": "out"}.get(name, "out")
    model = from_torch(net, output=path, **OPTIONS)
    x = torch.rand(2, 3, *SIZE)
    want = net(x)
    for key in path if isinstance(path, tuple) else (path,):
        want = want[key]
    assert relative_error(model(np.moveaxis(x.numpy(), 1, -1)), want.detach().numpy()) < 1e-5


def test_what_has_no_gradient_of_its_own_code_is_not_said_to_have():
    assert _gradients.scan(nn.Conv2d(3, 4, 3), (torch.rand(2, 3, 8, 8),)).findings == ()

    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return (self.conv(x) > 0).float().mean((2, 3))

    net, x = Counts().eval(), torch.rand(2, 3, *SIZE)
    assert relative_error(from_torch(net, **OPTIONS)(np.moveaxis(x.numpy(), 1, -1)), net(x).numpy()) < 1e-5


POWERS = {
    "gamma": lambda x: x ** (1 / 2.2),
    "root": torch.sqrt,
    "logarithm": lambda x: torch.log(x + 1e-3),
    "a hole": lambda x: torch.where(x > 1, torch.nan, x),
}


@pytest.mark.parametrize("name", POWERS)
def test_a_function_of_pixels_that_is_nan_elsewhere(name):
    class Power(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.conv(POWERS[name](x)).mean((2, 3))

    torch.manual_seed(0)
    net, x = Power().eval(), torch.rand(2, 3, *SIZE)
    model = from_torch(net, **OPTIONS)
    assert relative_error(model(np.moveaxis(x.numpy(), 1, -1)), net(x).detach().numpy()) < 1e-4


class Hole(nn.Module):
    """NaN for what is not above `above`."""

    def __init__(self, above):
        super().__init__()
        self.conv, self.above = nn.Conv2d(3, 4, 3), above

    def forward(self, x):
        return self.conv(torch.where(x > self.above, x, torch.nan)).mean((2, 3))


def test_a_network_that_is_nan_for_all_it_was_tried_with_is_told_of():
    net = Hole(5.0).eval()
    with pytest.warns(NonFiniteWarning, match="returned NaN in PyTorch.*example="):
        from_torch(net, **OPTIONS)
    with warnings.catch_warnings():  # a finite example is compared, and nothing is told
        warnings.simplefilter("error")
        from_torch(net, example=torch.rand(2, 3, *SIZE) + 6, preprocess=Preprocess())
        from_torch(Hole(-9.0).eval(), **OPTIONS)
