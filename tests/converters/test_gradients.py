"""Gradients that PyTorch code sets itself: those of an import are the same, or it is refused by
name and place.
"""

import jax
import numpy as np
import pytest

from converters import _compare, from_torch
from jaxlens.errors import ConversionError
from jaxlens.model import Preprocess

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

SIZE = (9, 11)
IMAGES = np.asarray(jax.random.uniform(jax.random.key(0), (2, *SIZE, 3)))


class Straight(torch.autograd.Function):
    """The sign, with the gradient of what it is the sign of."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, g):
        return g


class Reversed(torch.autograd.Function):
    """The same in other words, and with the gradient turned round."""

    @staticmethod
    def forward(x):
        return x

    @staticmethod
    def setup_context(ctx, inputs, output): ...

    @staticmethod
    def backward(ctx, g):
        return -g


class Swish(torch.autograd.Function):
    """To save memory: its gradient is the true one."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        s = torch.sigmoid(ctx.saved_tensors[0])
        return g * s * (1 + ctx.saved_tensors[0] * (1 - s))


class Act(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Net(nn.Module):
    """`middle` between a convolution and a linear layer."""

    def __init__(self, middle):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act, self.head = nn.Conv2d(3, 4, 3), Act(middle), nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.act(self.conv(x)).mean((2, 3)))


def no_grad(x):
    with torch.no_grad():
        change = x.sign() - x
    return x + change


def set_grad_enabled(x):
    torch.set_grad_enabled(False)
    change = torch.max(x, 1, keepdim=True).values
    torch.set_grad_enabled(True)
    return x * change


def inference_mode(x):
    with torch.inference_mode():
        change = x.round() - x
    return x + change.clone()


def exported(x):
    """`torch.fx` cannot follow this one."""
    half = x[:, :2]
    half.mul_(2)
    return no_grad(x)


def in_place(x):
    x = x * 1
    with torch.no_grad():
        x.clamp_(-0.1, 0.1)
    return x


def data(x):
    x = x * 1
    x.data.clamp_(-0.1, 0.1)
    return x


def detached(x):
    x = x * 1
    x.detach().clamp_(-0.1, 0.1)
    return x


def hooked(hook):
    def middle(x):
        x = x * 1
        if x.requires_grad:
            x.register_hook(hook)
        return x

    return middle


def with_hook(kind, hook):
    net = Net(torch.tanh)
    getattr(net.conv, kind)(hook)
    return net


FOLLOWED = {
    "detach": Net(lambda x: x + (x.sign() - x).detach()),
    "no_grad": Net(no_grad),
    "set_grad_enabled": Net(set_grad_enabled),
    "inference_mode": Net(inference_mode),
    "no_grad_exported": Net(exported),
    "a_true_function": Net(Swish.apply),
    "checkpoint": Net(lambda x: checkpoint(torch.tanh, x, use_reentrant=True)),
    "a_hook_that_looks": Net(hooked(lambda g: None)),
    "forward_hook": with_hook("register_forward_hook", lambda module, inputs, out: out + (out.sign() - out).detach()),
    "forward_pre_hook": with_hook("register_forward_pre_hook", lambda _, x: (x[0].detach() / 2 + x[0] / 2,)),
    "a_backward_hook_that_looks": with_hook("register_full_backward_hook", lambda module, into, out: None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLLOWED)
def test_gradients_that_code_sets_are_followed(name):
    net = FOLLOWED[name].eval()
    model = from_torch(net, SIZE, preprocess=Preprocess())
    x = torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()).requires_grad_()
    net(x)[:, 1].sum().backward()
    want = x.grad
    with jax.default_matmul_precision("highest"):
        got = jax.grad(lambda x: model(x)[:, 1].sum())(IMAGES)
    assert float(np.abs(want.numpy()).max()) > 0
    np.testing.assert_allclose(got, want.numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


def test_the_check_leaves_the_weights_gradients_alone():
    """A checkpoint runs its part again while it differentiates, weights included."""
    net = Net(torch.tanh)
    inner = net.act
    net.act = Act(lambda x: checkpoint(lambda y: inner(net.conv.weight.sum() * y), x, use_reentrant=True))
    from_torch(net.eval(), SIZE, preprocess=Preprocess())
    assert all(weight.grad is None and weight.requires_grad for weight in net.parameters())


REFUSED = {
    "a_function": (Net(Straight.apply), "torch.autograd.Function 'Straight' in module 'act'"),
    "a_function_of_views": (Net(Reversed.apply), "torch.autograd.Function 'Reversed'"),
    "in_place_under_no_grad": (Net(in_place), "torch.no_grad in module 'act'"),
    "in_place_on_data": (Net(data), ".data in module 'act'"),
    "in_place_on_detached": (Net(detached), "detach in module 'act'"),
    "a_hook": (Net(hooked(lambda g: 2 * g)), "a tensor hook in module 'act'"),
    "a_backward_hook": (
        with_hook("register_full_backward_hook", lambda module, into, out: (3 * into[0],)),
        "a backward hook in module 'conv'",
    ),
    "all_of_it_under_no_grad": (Net(torch.no_grad()(torch.tanh)), "no gradient of what it returns reaches its input"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_other_gradients_are_refused_by_name_and_place(name):
    net, words = REFUSED[name]
    with pytest.raises(ConversionError) as caught:
        from_torch(net.eval(), SIZE, preprocess=Preprocess())
    assert words in str(caught.value) and len(str(caught.value)) < 1500


def test_a_function_is_compared_without_check_too():
    with pytest.raises(ConversionError, match=r"autograd\.Function 'Straight' in module 'act'"):
        from_torch(Net(Straight.apply).eval(), SIZE, preprocess=Preprocess(), check=False)


def test_grad_mode_is_left_as_it_was():
    with torch.no_grad():
        from_torch(Net(torch.tanh).eval(), SIZE, preprocess=Preprocess())
        assert not torch.is_grad_enabled()


def test_the_error_of_gradients():
    want = np.array([3.0, 4.0, np.nan])
    assert _compare.gradient_error([want], [want]) == 0
    assert _compare.gradient_error([np.array([3.0, 4.5, np.nan])], [want]) == pytest.approx(0.1)
    assert _compare.gradient_error([np.array([3.0, np.nan, np.nan])], [want]) == np.inf
    assert _compare.gradient_error([np.zeros(2)], [None]) == 0 < _compare.gradient_error([np.ones(2)], [None])
