"""Networks of one kind of layer each, as people write them in PyTorch: attention, resizing,
padding, norms, pools.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class EinsumAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Conv2d(3, 24, 1), nn.Linear(8, 7)

    def forward(self, x):
        b, _, h, w = x.shape
        q, k, v = self.qkv(x[:, :, ::4, ::4]).flatten(2).chunk(3, 1)
        weights = torch.softmax(torch.einsum("bcn,bcm->bnm", q, k) / math.sqrt(8), -1)
        out = torch.einsum("bnm,bcm->bnc", weights, v)
        return self.proj(out).mean(1) + (h - w) / b * 0


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 8, 3, 2, 1)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 2, stride=2), nn.Conv2d(8 + 3, 2, 1)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    def forward(self, x):
        a = F.leaky_relu(self.down1(x), 0.2)
        b = F.leaky_relu(self.down2(a), 0.2)
        b = F.interpolate(self.up(b), size=a.shape[2:], mode="bilinear", align_corners=False)
        c = self.upsample(torch.cat([a, b], dim=1))
        c = F.interpolate(c, size=x.shape[-2:], mode="bicubic")
        return self.out(torch.cat((c, x), 1))


class Resizes(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        x = self.conv(x)
        sizes = [
            F.interpolate(x, scale_factor=2),
            F.interpolate(x, scale_factor=0.7, mode="nearest"),
            F.interpolate(x, size=(17, 80), mode="nearest-exact"),
            F.interpolate(x, scale_factor=1.5, mode="bilinear", align_corners=False),
            F.interpolate(x, scale_factor=(0.4, 1.3), mode="bilinear", recompute_scale_factor=True),
            F.interpolate(x, size=(20, 30), mode="area"),
            F.interpolate(x, size=(12, 70), mode="bilinear", antialias=True),
            F.interpolate(x, size=(12, 20), mode="bicubic", antialias=True),
            F.interpolate(x, size=(50, 20), mode="bicubic", align_corners=True),
        ]
        return torch.stack([y.std((2, 3)) + y[:, :, 3, 5] for y in sizes], -1).flatten(1)


class Pads(nn.Module):
    def __init__(self):
        super().__init__()
        self.zero, self.reflect = nn.ZeroPad2d((1, 2, 0, 3)), nn.ReflectionPad2d(2)
        self.conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")
        self.same = nn.Conv2d(4, 4, (3, 4), padding="same", dilation=2)

    def forward(self, x):
        x = self.reflect(self.conv(F.pad(self.zero(x), (3, 1, 2, 0), mode="replicate")))
        x = F.pad(self.same(x), (-1, -2, 1, 0), value=0.5)
        return F.pad(x, (2, 2, 0, 1), mode="circular").mean(-1).flatten(1)[:, :60]


class PixelShuffle(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.shuffle, self.unshuffle = nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2), nn.PixelUnshuffle(2)
        self.shuffle_channels = nn.ChannelShuffle(3)

    def forward(self, x):
        x = self.shuffle(self.conv(x))
        x = self.unshuffle(F.pad(x, (0, 0, 0, 0))) + self.shuffle_channels(self.conv.weight.sum() * self.unshuffle(x))
        return F.pixel_shuffle(x, 2)


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.norms = nn.ModuleList(
            [
                nn.GroupNorm(3, 6),
                nn.InstanceNorm2d(6, affine=True),
                nn.InstanceNorm2d(6),
                nn.InstanceNorm2d(6, affine=True, track_running_stats=True),
                nn.BatchNorm2d(6, affine=False),
                nn.LocalResponseNorm(3),
            ]
        )
        self.layer_norm, self.whole = nn.LayerNorm(6), nn.LayerNorm([6, 31, 45])

    def forward(self, x):
        x = self.conv(x)
        for norm in self.norms:
            x = x + norm(x)
        x = self.layer_norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.whole(x)
        return F.normalize(F.layer_norm(x, x.shape[-1:]).flatten(1), dim=1)[:, :50]


class MaskedAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attention = nn.Conv2d(3, 8, 8, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.cross = nn.MultiheadAttention(8, 4)
        self.register_buffer("mask", torch.triu(torch.ones(20, 20, dtype=torch.bool), 1))

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        causal, weights = self.attention(tokens, tokens, tokens, attn_mask=self.mask)
        turned = causal.transpose(0, 1)
        both, _ = self.cross(turned, tokens.transpose(0, 1), turned * 2, need_weights=False)
        return both.mean(0) + weights[:, :8, 3]


class ScaledDotProduct(nn.Module):
    def __init__(self, heads=2):
        super().__init__()
        self.embed, self.qkv, self.heads = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 24, bias=False), heads

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        b, n, c = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        x = F.scaled_dot_product_attention(q, k, v, is_causal=True) + F.scaled_dot_product_attention(q, k, v, scale=0.3)
        return x.transpose(1, 2).reshape(b, n, c).mean(1)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.position = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 21, 8))
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 5)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.encoder(x)[:, 0])


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 8, 3, stride=2), nn.Hardswish(inplace=True)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.SiLU(), nn.Conv2d(2, 8, 1), nn.Hardsigmoid())
        self.scale = nn.Parameter(torch.randn(8, 1, 1))

    def forward(self, x):
        x = self.act(self.conv(x))
        y = self.act(self.depthwise(x))
        return (x + self.scale * y * self.gate(y)).mean((-1, -2))


class Activations(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        kinds = [
            nn.ReLU6,
            nn.LeakyReLU,
            nn.PReLU,
            nn.ELU,
            nn.SELU,
            nn.CELU,
            nn.GELU,
            nn.SiLU,
            nn.Mish,
            nn.Softplus,
            nn.Softsign,
        ]
        kinds += [nn.Tanhshrink, nn.Hardtanh, nn.LogSigmoid, nn.Hardshrink, nn.Softshrink, nn.Tanh, nn.Sigmoid, nn.Identity]
        extra = [nn.PReLU(4), nn.GELU("tanh"), nn.Threshold(0.1, 0.2), nn.Softmax(1), nn.Softmax2d(), nn.LogSoftmax(dim=1)]
        self.acts = nn.ModuleList([kind() for kind in kinds] + extra)

    def forward(self, x):
        x = self.conv(x)
        return torch.cat([act(3 * x).mean((2, 3)) for act in self.acts], 1)


class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.ConvTranspose2d(3, 6, 3, stride=2, padding=1, output_padding=1)
        self.b = nn.ConvTranspose2d(6, 4, (3, 2), stride=(1, 3), groups=2, bias=False)
        self.c = nn.ConvTranspose2d(4, 2, 3, dilation=2, padding=(2, 0))
        self.d = nn.ConvTranspose1d(2, 3, 4, stride=2)

    def forward(self, x):
        return self.d(self.c(self.b(self.a(x))).mean(2))


class Pools(nn.Module):
    def __init__(self):
        super().__init__()
        self.max, self.avg = nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d((3, 2), 2, 1, ceil_mode=True)
        self.exclusive = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
        self.line, self.adaptive = nn.MaxPool1d(3, 2), nn.AdaptiveMaxPool2d((3, 4))

    def forward(self, x):
        parts = [self.max(x), self.avg(x), self.exclusive(x), self.adaptive(x), F.adaptive_avg_pool2d(x, (None, 2))]
        parts += [F.avg_pool2d(x, 3, divisor_override=2), F.lp_pool2d(x.abs(), 2, 3), F.max_pool2d(x, 3, 1, 1, 2)]
        parts += [self.line(x.flatten(2)), F.adaptive_avg_pool1d(x.mean(2), 5), F.avg_pool1d(x.sum(3), 3, 2)]
        return torch.cat([part.flatten(1)[:, :40] for part in parts], 1)


class Windows(nn.Module):
    """Windows cut and joined by view and permute, with a relative bias looked up by an index."""

    def __init__(self, window=4):
        super().__init__()
        self.window, self.conv, self.table = window, nn.Conv2d(3, 8, 3, padding=1), nn.Parameter(torch.randn(31, 1))
        self.register_buffer("index", torch.arange(16)[:, None] - torch.arange(16)[None] + 15)

    def forward(self, x):
        x = self.conv(x)[:, :, :32, :44]
        b, c, h, w = x.shape
        s = self.window
        x = x.view(b, c, h // s, s, w // s, s).permute(0, 2, 4, 3, 5, 1).reshape(-1, s * s, c)
        bias = self.table[self.index.view(-1)].view(s * s, s * s)
        x = (x @ x.transpose(-2, -1) * 0.1 + bias).softmax(dim=-1) @ x
        x = x.view(b, h // s, w // s, s, s, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)
        return F.unfold(x, 2, stride=3)[:, :, :7]


class OtherDimensions(nn.Module):
    """Conv1d and Conv3d on reshaped maps, addmm, bilinear, outer sums."""

    def __init__(self):
        super().__init__()
        self.line, self.volume = nn.Conv1d(3, 4, 5, stride=2), nn.Conv3d(1, 2, (2, 3, 3), padding=(0, 1, 1))
        self.bilinear, self.matrix = nn.Bilinear(4, 2, 5), nn.Parameter(torch.randn(5, 6))

    def forward(self, x):
        a = self.line(x.flatten(2)).mean(-1)
        b = self.volume(x.unsqueeze(1)).mean((2, 3, 4))
        c = self.bilinear(a, b)
        return torch.addmm(torch.ones(6), c, self.matrix, alpha=2) + torch.bmm(a[:, :, None], b[:, None]).sum((1, 2))[:, None]
