"""Code that invites wrong numbers: writes through views, sizes, unusual options. Right, or refused;
never wrong.
"""

import contextlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from converters import _compare, from_torch  # noqa: E402
from jaxlens.errors import AssumedWarning, ConversionError  # noqa: E402
from jaxlens.model import Preprocess  # noqa: E402

nn, F = torch.nn, torch.nn.functional
SIZE, OTHER = (33, 47), (40, 36)


def module(forward, **children):
    """A module of a forward function `(self, x)` and children."""

    class Tricky(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            for name, child in children.items():
                made = child()
                if isinstance(made, torch.Tensor):
                    self.register_buffer(name, made)
                else:
                    setattr(self, name, made)

        def forward(self, x):
            return forward(self, x)

    return Tricky().eval()


def write_through_view(self, x):
    y = x * 2
    y[:, :1] += 1
    part = y[:, 1:]
    part.mul_(3)
    return y


def both_names(self, x):
    x = self.conv(x)
    identity = x
    x = F.relu_(x)
    return x + identity


def chunks_in_place(self, x):
    a, b = self.conv(x).chunk(2, 1)
    a.add_(b)
    return torch.cat([a, b], 1)


def swap_halves(self, x):
    x = self.conv(x)
    x[:, :2], x[:, 2:] = x[:, 2:].clone(), x[:, :2].clone()
    return x


def branches_on_size(self, x):
    return x * 2 if x.shape[-1] > 40 else x * 3


def odd_or_even(self, x):
    return x[:, :, : x.shape[2] // 2 * 2, : -(x.shape[3] // -2)]


def shuffled(self, x):
    b, _, h, w = x.shape
    return self.conv(x).view(b, 2, 2, h, w).transpose(1, 2).reshape(b, 4, h, w)


def windows(self, x):
    x = F.pad(self.conv(x), (0, -x.shape[3] % 4, 0, -x.shape[2] % 4))
    b, c, h, w = x.shape
    x = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
    x = x + self.norm(x).softmax(-2)
    return x.view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


def statistics(self, x):
    parts = [x.std(1), x.var((2, 3))[..., None].expand(-1, -1, 4), x.var(2, unbiased=False), x.norm(dim=1), x.logsumexp(1)]
    parts += [x.amax(3), x.prod(1), x.cumsum(2)[:, 0], torch.linalg.vector_norm(x, float("inf"), 2)]
    return torch.cat([p.flatten(1) for p in parts], 1)


def shapes_of_attention(self, x):
    q = self.conv(x).flatten(2).transpose(1, 2)
    mask = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool).tril()
    a = F.scaled_dot_product_attention(q[:, None], q[:, None], q[:, None], attn_mask=mask)
    b = F.scaled_dot_product_attention(q[:, None], q[:, None], q[:, None], is_causal=True, scale=0.3)
    return (a + b).squeeze(1)


def positions(self, x):
    x = self.conv(x).flatten(2).mT
    return x + self.table[:, : x.shape[1]] * torch.arange(x.shape[1]).view(1, -1, 1) / x.shape[1]


def resizes(self, x):
    half = F.interpolate(x, scale_factor=0.5, mode="bicubic", align_corners=False)
    area = F.interpolate(x, size=(7, 9), mode="area")
    exact = F.interpolate(x, scale_factor=(1.5, 0.7), mode="nearest-exact")
    corners = F.interpolate(x, size=(50, 20), mode="bilinear", align_corners=True)
    like = F.interpolate(x, scale_factor=1.3, mode="bilinear", recompute_scale_factor=True)
    return torch.cat([p.flatten(1) for p in (half, area, exact, corners, like)], 1)


def pads(self, x):
    parts = [F.pad(x, (-2, 3, 1, -1)), F.pad(x, (3, 0, 0, 2), "reflect"), F.pad(x, (1, 2, 3, 4), "circular")]
    parts += [F.pad(x, (2, 1), "replicate") if x.ndim == 3 else F.pad(x, (2, 1, 0, 3), "replicate")]
    return torch.cat([p.flatten(1) for p in parts], 1)


def indexing(self, x):
    parts = [x[:, [2, 0]], x[..., ::2], x[:, None, 1], x.roll((2, -3), (2, 3)), x.flip(3), x[:, :, -1], x.unfold(3, 4, 3)]
    parts += [x.index_select(1, torch.tensor([1, 1])), torch.stack(x.unbind(2)[::5], 1), x.movedim(1, -1)[..., 0]]
    parts += [x.gather(3, x.argmax(3, keepdim=True)), x.narrow(2, 1, 3)]
    return torch.cat([p.flatten(1) for p in parts], 1)


def nonlinear(self, x):
    functions = [F.celu, F.elu, F.selu, F.softplus, F.mish, F.hardswish, F.hardsigmoid, F.hardtanh, F.logsigmoid, F.softsign]
    functions += [F.relu6, F.silu, F.tanhshrink, F.softshrink, F.hardshrink, torch.erf, torch.expm1, torch.log1p]
    y = x.abs() + 0.1
    return torch.cat([f(x if f is not torch.log1p else y) for f in functions] + [F.glu(y.repeat(1, 2, 1, 1), 1)], 1)


def pools(self, x):
    parts = [F.avg_pool2d(x, 3, 2, 1, True, False), F.avg_pool2d(x, (2, 5), ceil_mode=True, divisor_override=7)]
    parts += [F.max_pool2d(x, 3, 2, 1, 2, True), F.lp_pool2d(x.abs(), 2, 3), F.adaptive_max_pool2d(x, (5, None))]
    parts += [F.adaptive_avg_pool2d(x, (None, 4)), F.max_pool2d(x, (1, 7), (1, 2)), F.avg_pool2d(x, x.shape[2:])]
    return torch.cat([p.flatten(1) for p in parts], 1)


def folds(self, x):
    columns = F.unfold(x[:, :, :32, :32], (3, 2), dilation=2, padding=1, stride=3)
    return torch.cat([columns.flatten(1), F.pixel_unshuffle(x[:, :, :32, :36], 4).flatten(1)], 1)


def distances(self, x):
    v = x.flatten(2)[:, :, :50]
    parts = [F.cosine_similarity(v, v.roll(1, 1), dim=2), F.normalize(v, dim=1), v @ v.mT]
    parts += [torch.einsum("bcn,bdn->bcd", v, v), torch.einsum("...n,...n", v, v), torch.baddbmm(v @ v.mT, v, v.mT, alpha=2)]
    return torch.cat([p.flatten(1) for p in parts], 1)


def several_outputs(self, x):
    y = self.conv(x)
    return {"maps": y, "pair": (y.mean((2, 3)), [y.amax((2, 3))])}


def conv():
    return nn.Conv2d(3, 4, 3, padding=1)


def weight_norm():
    return nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))


def spectral_norm():
    return nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)).eval()


RIGHT = {
    "both_names": (both_names, {"conv": conv}),
    "odd_or_even": (odd_or_even, {}),
    "shuffled": (shuffled, {"conv": conv}),
    "windows": (windows, {"conv": conv, "norm": lambda: nn.LayerNorm(4)}),
    "attention": (shapes_of_attention, {"conv": lambda: nn.Conv2d(3, 4, 5, 5)}),
    "positions": (positions, {"conv": conv, "table": lambda: torch.randn(1, 3000, 4)}),
    "pads": (pads, {}),
    "pools": (pools, {}),
    "several_outputs": (several_outputs, {"conv": conv}),
    "circular": (lambda self, x: self.conv(x), {"conv": lambda: nn.Conv2d(3, 4, 5, 2, (3, 1), padding_mode="circular")}),
    "reflecting": (lambda self, x: self.conv(x), {"conv": lambda: nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect")}),
    "same_dilated": (lambda self, x: self.conv(x), {"conv": lambda: nn.Conv2d(3, 6, (4, 3), 1, "same", 2, groups=3)}),
    "transposed": (
        lambda self, x: self.conv(x),
        {"conv": lambda: nn.ConvTranspose2d(3, 6, (4, 3), (2, 3), (1, 2), (1, 0), groups=3, dilation=(1, 2))},
    ),
    "sized_transposed": (lambda self, x: self.up(self.down(x), x.shape[2:]), {
        "down": lambda: nn.Conv2d(3, 4, 3, 2, 1), "up": lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1)
    }),
    "layer_norm_over_maps": (lambda self, x: self.norm(x[..., :32, :32]), {"norm": lambda: nn.LayerNorm((3, 32, 32))}),
    "one_group": (lambda self, x: self.norm(self.conv(x)), {"conv": conv, "norm": lambda: nn.GroupNorm(1, 4)}),
    "prelu": (lambda self, x: self.act(self.conv(x)), {"conv": conv, "act": lambda: nn.PReLU(4)}),
    "weight_norm": (lambda self, x: self.conv(x), {"conv": weight_norm}),
}  # fmt: skip
# Right or refused: what an operator lacks is said, and nothing else.
RIGHT_OR_REFUSED = {
    "write_through_view": (write_through_view, {}),
    "chunks_in_place": (chunks_in_place, {"conv": conv}),
    "swap_halves": (swap_halves, {"conv": conv}),
    "branches_on_size": (branches_on_size, {}),
    "statistics": (statistics, {}),
    "resizes": (resizes, {}),
    "indexing": (indexing, {}),
    "nonlinear": (nonlinear, {}),
    "folds": (folds, {}),
    "distances": (distances, {}),
    "spectral_norm": (lambda self, x: self.conv(x), {"conv": spectral_norm}),
}


def rows(net, model, size):
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1)) * 4 - 2
    return _compare.compare(net, model.forward, model.params, np.moveaxis(x.numpy(), 1, -1))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RIGHT, *RIGHT_OR_REFUSED])
def test_right_or_refused_at_two_sizes(name):
    forward, children = (RIGHT | RIGHT_OR_REFUSED)[name]
    net = module(forward, **children)
    try:
        with pytest.warns(AssumedWarning, match="output=") if name == "several_outputs" else contextlib.nullcontext():
            model = from_torch(net, SIZE, preprocess=Preprocess(), check=False)
    except ConversionError as error:
        assert name in RIGHT_OR_REFUSED, error
        print(f"{name}: {str(error).splitlines()[:2]}")
        return
    assert [row for row in rows(net, model, SIZE) if not row.error <= 1e-4] == []
    try:
        found = rows(net, model, OTHER)
    except ValueError as error:  # what torch.export traced has one size
        assert "33 x 47 only" in str(error)
        return
    assert [row for row in found if not row.error <= 1e-4] == []
