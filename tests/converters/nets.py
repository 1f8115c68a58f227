"""Networks as people write them in PyTorch: one idiom each, for the importer's tests. Every class
takes images [B, 3, H, W].
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from tests.converters.nets_layers import (
    Activations,
    EinsumAttention,
    MaskedAttention,
    Norms,
    OtherDimensions,
    Pads,
    PixelShuffle,
    Pools,
    Resizes,
    ScaledDotProduct,
    SqueezeExcite,
    Transformer,
    Transposed,
    UNet,
    Windows,
)


class FunctionalReLU(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 8, 12)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc1(x.view(-1, self.num_flat_features(x)))

    def num_flat_features(self, x):
        return x.size()[1] * x.size()[2] * x.size()[3]


class InPlace(nn.Module):
    """In-place operators whose results are dropped."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)

    def forward(self, x):
        y = self.conv1(x)
        F.relu_(y)
        z = self.conv2(y)
        kept = z
        z += y
        z.mul_(0.5).add_(1)
        return (kept - z.tanh_()).mean((2, 3)) + z.flatten(1).mean(1, keepdim=True)


class InPlaceShortcut(nn.Module):
    """Pre-activation: the in-place ReLU module changes what the shortcut carries."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.stem(x)
        out = self.conv(self.relu(x))
        return (out + x).mean((2, 3))


class InPlaceView(nn.Module):
    """Writes through a view."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        half = x[:, :2]
        half.mul_(2).relu_()
        return x.mean((2, 3))


class SetItem(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        x[:, 0] = 0
        x[:, 1:3, ::2] = x[:, 2:, ::2] * 2
        return x.amax((2, 3))


class Reused(nn.Module):
    """One convolution and one ReLU, called several times."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()

    def forward(self, x):
        x = self.relu(self.stem(x))
        for _ in range(3):
            x = x + self.relu(self.conv(x))
        return x.mean(dim=[2, 3])


class ChunkGate(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.glu, self.fc = nn.Conv2d(3, 8, 3), nn.GLU(dim=1), nn.Linear(2, 5)

    def forward(self, x):
        a, b = self.conv(x).chunk(2, dim=1)
        a, b = torch.split(torch.cat([a * torch.sigmoid(b), F.glu(torch.cat([b, a], 1), 1)], 1), [4, 4], 1)
        x = self.glu(a) - b[:, :2]
        return self.fc(x.permute(0, 2, 3, 1)).sum((1, 2))


class Shapes(nn.Module):
    """Slices, new axes, stacking, rolling, flipping, repeating."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x):
        x = self.conv(x)
        y = x[:, ::2, 1:-1, None, 3:].squeeze(3)
        y = torch.stack(y.unbind(1), dim=-1).movedim(-1, 1)
        y = torch.roll(y, shifts=(2, -3), dims=(2, 3)).flip(-1)
        y = y.unflatten(1, (3, 1)).expand(-1, -1, 2, -1, -1).reshape(x.size(0), 6, *y.shape[2:])
        y = y.repeat(1, 1, 1, 2)[..., : y.shape[-1]].narrow(2, 0, 20).transpose(-1, -2)
        y = y.repeat_interleave(2, dim=1)[:, torch.tensor([0, 3, 7])].index_select(1, torch.tensor([2, 0]))
        y = torch.where(y > 0, y, y.new_zeros(1)).masked_fill(y > 1, 1.0).clamp(min=0.1)
        return y.tile(1, 2, 1, 1).swapaxes(1, 2).contiguous().view(y.shape[0], -1)[:, :90]


class Reductions(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x):
        x = self.conv(x)
        values, places = x.max(dim=1)
        parts = [x.var(dim=(2, 3)), x.std((2, 3), unbiased=False), x.norm(dim=1).mean(2), torch.logsumexp(x, (2, 3))]
        parts += [values.mean(2), (x.argmax(1) == places).float().mean(2), x.softmax(-1).cumsum(2)[:, :, 3, 4]]
        parts += [torch.linalg.vector_norm(x, ord=1, dim=(1, 2)), torch.topk(x.flatten(1), 4).values, x.min(3).values.amin(2)]
        parts += [F.cosine_similarity(x, x.roll(1, 1)).mean(1), (x.prod(1) % 3).sum(2), (x // 0.5).mean((2, 3))]
        return torch.cat(parts, 1)


class StandardizedConv(nn.Conv2d):
    """Weight standardisation: the weight is computed in the forward pass."""

    def forward(self, x):
        weight = F.batch_norm(self.weight.reshape(1, self.out_channels, -1), None, None, training=True, momentum=0.0)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)


class WeightTricks(nn.Module):
    """Weight standardisation, weight and spectral norm, tied weights."""

    def __init__(self):
        super().__init__()
        self.conv = StandardizedConv(3, 6, 3)
        self.normed = parametrizations.weight_norm(nn.Conv2d(6, 4, 3))
        self.spectral = parametrizations.spectral_norm(nn.Linear(4, 4))
        self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 4, bias=False)
        self.b.weight = nn.Parameter(self.a.weight.detach().t().clone())

    def forward(self, x):
        x = self.spectral(self.normed(self.conv(x)).mean((2, 3)))
        return F.linear(self.b(self.a(x)), self.a.weight) + x @ self.a.weight.t()


class Containers(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleDict({"stem": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "body": nn.Sequential()})
        for i in range(2):
            self.blocks["body"].add_module(f"block{i}", nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(True)))
        self.scales = nn.ParameterList([nn.Parameter(torch.tensor(float(i))) for i in (1, 2)])
        self.heads = nn.ModuleList(nn.Linear(4, n) for n in (2, 3))

    def forward(self, x):
        x = self.blocks["stem"](x)
        for scale, block in zip(self.scales, self.blocks["body"].children(), strict=True):
            x = x + scale * block(x)
        return torch.cat([head(x.mean((2, 3))) for head in self.heads], 1)


class Normalized(nn.Module):
    """Its own preprocessing, in buffers and constants."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6])[:, None, None])
        self.std, self.conv, self.dropout = torch.tensor(0.3), nn.Conv2d(3, 4, 3), nn.Dropout2d()

    def forward(self, x):
        x = self.dropout(self.conv((x - self.mean) / self.std))
        if self.training:
            x = x * torch.rand_like(x)
        return F.dropout(x, 0.3, self.training).detach().mean((2, 3))


class LooksAtSizes(nn.Module):
    """Python control flow on the size of the image, and positions made from it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.conv(x)
        if x.shape[2] % 2 == 1:
            x = F.pad(x, (0, 0, 0, 1))
        b, c, h, w = x.shape
        rows = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(b, -1, -1, w)
        columns = torch.arange(w, dtype=x.dtype).view(1, 1, 1, w).expand(b, -1, h, -1) / w
        return torch.cat([x, rows, columns], 1).mean((2, 3)) + torch.zeros(b, c + 2)


class TupleOutput(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.heads = nn.Conv2d(3, 4, 3), Heads()

    def forward(self, x):
        first, (second, third) = self.heads(F.relu(self.backbone(x)))
        return first + third, second


class Heads(nn.Module):
    """Returns nested tuples."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 5), nn.Linear(4, 2)

    def forward(self, x):
        x = x.mean((2, 3))
        return self.a(x), (self.b(x), self.a(-x))


class DictOutput(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.fc, self.aux = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.backbone(x)
        return {"aux": self.aux(x), "out": self.fc(x.mean((2, 3)))}


# Each is compared layer by layer; torch.export is needed for those in EXPORTED, which look at sizes
# or write through views.
IDIOMS = [
    FunctionalReLU, InPlace, InPlaceShortcut, InPlaceView, SetItem, Reused, ChunkGate, EinsumAttention, UNet, Resizes, Pads,
    PixelShuffle, Norms, MaskedAttention, ScaledDotProduct, Transformer, SqueezeExcite, Activations, Transposed, Pools, Shapes,
    Reductions, WeightTricks, Containers, Normalized, LooksAtSizes, Windows, OtherDimensions, TupleOutput, DictOutput,
]  # fmt: skip
