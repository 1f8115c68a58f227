"""`render` in the fastest PyTorch we know: the opponent in `benchmarks.render_vs_torch`.

N neurons of a layer are a batch of N images, and the sum of their scores gives each image its own
gradient. The network is cut behind the layer, its batch norms are folded into its convolutions, its
weights are frozen, its tensors are channels-last. Images are Fourier coefficients on the device;
draws, one warp for scale and rotation, enlargement, network, gradient and fused Adam never wait for
Python. A `Variant` says what is compiled and in which precision. Float32 may use TF32 on a GPU.
"""

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch.fx.experimental.optimization import fuse
from torchvision.models.feature_extraction import create_feature_extractor

from jaxlens.optvis.param import color

PAD, FIRST, LAST = 12, 8, 4  # of Lucid's standard transforms: padding, and the two jitters
SCALES = [1 + (i - 5) / 50 for i in range(11)]
ANGLES = [math.radians(degrees) for degrees in (*range(-10, 11), *5 * [0])]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to run the renderer.

    Attributes:
        compiled: a mode of `torch.compile`, or None.
        dtype: of the network. Its weights are converted: autocast would convert frozen weights
            again at every step.
        graph: replay the step, Adam included, as one CUDA graph.
        layout: of images and weights.
    """

    compiled: str | None = None
    dtype: torch.dtype = torch.float32
    graph: bool = False
    layout: torch.memory_format = torch.channels_last


CPU = {
    "contiguous": Variant(layout=torch.contiguous_format),
    "channels-last": Variant(),
    "compiled": Variant(compiled="default"),
    "bfloat16": Variant(dtype=torch.bfloat16),
    "bfloat16 compiled": Variant(compiled="default", dtype=torch.bfloat16),
}
# Modes of torch.compile without CUDA graphs of their own. One graph of the whole step is faster.
GPU = {
    "eager": Variant(),
    "graph": Variant(graph=True),
    "compiled graph": Variant(compiled="default", graph=True),
    "reduce-overhead": Variant(compiled="reduce-overhead"),
    "max-autotune graph": Variant(compiled="max-autotune-no-cudagraphs", graph=True),
    "bfloat16 graph": Variant(dtype=torch.bfloat16, graph=True),
    "bfloat16 compiled graph": Variant(compiled="default", dtype=torch.bfloat16, graph=True),
    "bfloat16 max-autotune graph": Variant(compiled="max-autotune-no-cudagraphs", dtype=torch.bfloat16, graph=True),
}
VARIANTS = GPU if DEVICE.type == "cuda" else CPU


def cut(module: torch.nn.Module, layer: str) -> torch.nn.Module:
    """Return the network up to a layer, without batch norms, as `images -> {"out": values}`."""
    module = copy.deepcopy(module).eval().requires_grad_(False)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            # Lucent's redirected ReLU cannot be traced. jaxlens leaves it out too unless a neuron
            # is dead.
            if isinstance(child, torch.nn.ReLU) or type(child).__name__ == "RedirectedReluLayer":
                setattr(parent, name, torch.nn.ReLU(inplace=True))
    net = cast(torch.fx.GraphModule, fuse(create_feature_extractor(module, {layer: "out"}), inplace=True))
    for node in list(net.graph.nodes):
        if node.target is F.local_response_norm:
            node.target = response_norm
        elif node.target is F.pad and len(node.users) == 1:
            _fold(net, node)
        elif node.target is torch._assert:  # those of later layers would keep these layers in
            net.graph.erase_node(node)
    net.graph.eliminate_dead_code()
    net.recompile()
    return net.eval().requires_grad_(False)


def _fold(net: torch.fx.GraphModule, pad: Any) -> None:
    """Let the convolution or pool behind an `F.pad` do the padding. That saves a copy."""
    (user,) = pad.users
    left, right, top, bottom = pad.args[1]
    layer: Any = net.get_submodule(user.target) if user.op == "call_module" else None
    if isinstance(layer, torch.nn.Conv2d) and not pad.kwargs.get("value") and (left, top) == (right, bottom):
        layer.padding = (top, left)
    elif user.target is F.max_pool2d and pad.kwargs.get("value") == -math.inf and (left, top) == (right, bottom):
        user.kwargs = user.kwargs | {"padding": (top, left)}
    elif user.target is F.max_pool2d and pad.kwargs.get("value") == -math.inf and (left, right, top, bottom) == (0, 1, 0, 1):
        user.kwargs = user.kwargs | {"ceil_mode": True}  # as Lucent calls it, for windows of 3 and steps of 2
    else:
        return
    user.replace_input_with(pad, pad.args[0])


def response_norm(x: torch.Tensor, size: int, alpha: float, beta: float, k: float) -> torch.Tensor:
    """Compute `F.local_response_norm` as a 1x1 convolution, several times faster than PyTorch's."""
    channel = torch.arange(x.shape[1], device=x.device)
    near = (channel[:, None] - channel).abs() <= size // 2
    total = F.conv2d(x * x, near[:, :, None, None].to(x.dtype))
    scale = total * (alpha / size) + k
    return x * (scale.rsqrt() if beta == 0.5 else scale**-beta)


class Renderer:
    """Render `count` channels of a layer at a time. Compiled at the first call and never again.

    Args:
        module: the network.
        layer: the dotted name of a module in it.
        count: images at once.
        size: (height, width) of the images.
        seen: (height, width) at which the network sees them.
        preprocess: scale and offset per color, from [0, 1] to what the network takes.
        variant: how to run it.
        transforms: False leaves the standard transforms out.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        layer: str,
        count: int,
        *,
        size: tuple[int, int] = (128, 128),
        seen: tuple[int, int] = (224, 224),
        preprocess: tuple[Sequence[float], Sequence[float]],
        variant: Variant,
        transforms: bool = True,
    ):
        if DEVICE.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32; convolutions have it by default
            torch.backends.cudnn.benchmark = True
        height, width = size
        self.size, self.seen, self.variant, self.transforms = size, seen, variant, transforms
        self.net = cut(module, layer).to(DEVICE, variant.dtype).to(memory_format=variant.layout)
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
        scale = math.sqrt(height * width) / 4 / np.maximum(frequency, 1 / max(size))
        self.scale = _tensor(scale)[:, :, None]
        self.colors = _tensor(color.color_correlation_normalized)
        self.preprocess = [_tensor(np.broadcast_to(x, 3)).reshape(3, 1, 1) for x in preprocess]
        self.channels = torch.zeros(count, dtype=torch.int64, device=DEVICE)
        self.rows = torch.arange(count, device=DEVICE)
        self.choices = _tensor(SCALES), _tensor(ANGLES)
        self.theta = torch.zeros(count, 3, height, width // 2 + 1, 2, device=DEVICE, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.theta], lr=0.05, fused=True, maximize=True, capturable=DEVICE.type == "cuda")
        compiled = variant.compiled
        self._scored = torch.compile(self._score, mode=compiled, dynamic=False) if compiled else self._score
        self.scores = torch.zeros(count, device=DEVICE)
        self.graph: Any = None

    def __call__(self, channels: Sequence[int], steps: int, seed: int = 0) -> np.ndarray:
        """Return images `[N, H, W, 3]` after `steps` steps."""
        if self.variant.graph and self.graph is None:
            self._capture()
        torch.manual_seed(seed)
        self.channels.copy_(torch.as_tensor(list(channels)))
        with torch.no_grad():
            self.theta.normal_(std=0.01)
            for value in self.optimizer.state[self.theta].values():
                value.zero_()
        step = self._step if self.graph is None else self.graph.replay
        for _ in range(steps):
            step()
        with torch.no_grad():
            return self._colored(self._planes()).permute(0, 2, 3, 1).cpu().numpy()

    def score(self) -> torch.Tensor:
        """Return the score of each image with the present coefficients; differentiable."""
        return self._scored(self._planes(), self._draw())

    def _step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        scores = self.score()
        scores.sum().backward()
        self.optimizer.step()
        self.scores.copy_(scores.detach())

    def _capture(self) -> None:
        """Record the step, after a few steps that settle compilation and Adam's state."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self._step()
        self.graph = graph

    def _planes(self) -> torch.Tensor:
        """Return unbounded colors `[N, 3, H, W]`. torch.compile leaves complex numbers alone."""
        return torch.fft.irfft2(torch.view_as_complex(self.theta * self.scale), s=self.size)

    def _colored(self, planes: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(torch.einsum("ij,njhw->nihw", self.colors, planes))

    def _draw(self) -> tuple[torch.Tensor, ...]:
        """Draw the first jitter, scale, angle and last jitter of each image."""
        if not self.transforms:
            return ()
        count = len(self.rows)
        scale, angle = (values[torch.randint(len(values), (count,), device=DEVICE)] for values in self.choices)
        first, last = (torch.randint(most + 1, (count, 2), device=DEVICE) for most in (FIRST, LAST))
        return first, scale, angle, last

    def _score(self, planes: torch.Tensor, draws: tuple[torch.Tensor, ...]) -> torch.Tensor:
        images = self._colored(planes)
        if draws:
            images = warp(images, *draws)
        if images.shape[2:] != self.seen:
            images = F.interpolate(images, self.seen, mode="bilinear", align_corners=True)
        scale, offset = self.preprocess
        values = self.net((images * scale + offset).to(self.variant.dtype, memory_format=self.variant.layout))["out"]
        if values.ndim == 3:  # [N, tokens, channels]
            values = values.movedim(-1, 1)
        return values[self.rows, self.channels].float().flatten(1).mean(1)


def warp(images: torch.Tensor, first: torch.Tensor, scale: torch.Tensor, angle: torch.Tensor, last: torch.Tensor) -> Any:
    """Apply Lucid's standard transforms, with draws for each image, as one bilinear resampling.

    Padding and crops only move the origin: `p = R(-angle) (q + last - c) / scale + c + first - PAD`
    is the point of the image that the point q of the result shows, c being the centre that scale
    and rotation share.
    """
    count, colors, height, width = images.shape
    edges = [side + 2 * PAD - FIRST - 1 for side in (height, width)]
    crop = [edge + 1 - LAST for edge in edges]
    half_y, half_x = ((side - 1) / 2 for side in crop)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    down, right = (last[:, i] + half - edge / 2 for i, half, edge in zip((0, 1), (half_y, half_x), edges, strict=True))
    y0 = cos * down + sin * right + edges[0] / 2 + first[:, 0] - PAD
    x0 = cos * right - sin * down + edges[1] / 2 + first[:, 1] - PAD
    to_y, to_x = 2 / (height - 1), 2 / (width - 1)  # pixels to affine_grid's [-1, 1]
    rows = [
        torch.stack([cos * half_x * to_x, -sin * half_y * to_x, x0 * to_x - 1], 1),
        torch.stack([sin * half_x * to_y, cos * half_y * to_y, y0 * to_y - 1], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [count, colors, *crop], align_corners=True)
    return F.grid_sample(images - 0.5, grid, mode="bilinear", padding_mode="zeros", align_corners=True) + 0.5


def _tensor(values: Any) -> torch.Tensor:
    return torch.tensor(np.array(values, np.float32), device=DEVICE)
