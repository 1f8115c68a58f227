"""torch-lucent as its users run it, and the networks that it shares with jaxlens."""

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
import torchvision

from converters import convert
from jaxlens import modelzoo
from jaxlens.model import Model
from jaxlens.modelzoo import inceptionv1, lensnet

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lucent.modelzoo.inceptionv1 import InceptionV1, helper_layers
    from lucent.optvis import param, render

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def network(name: str, weights: str | Path | None = None) -> torch.nn.Module:
    """Return a torch network with weights from a file, or with random ones."""
    torch.manual_seed(0)
    own = {"inceptionv1": InceptionV1, "lensnet": LensNet}
    module = own[name]() if name in own else torchvision.models.get_model(name, weights=None)
    if weights is not None:
        module.load_state_dict(torch.load(weights, weights_only=True))
    elif name in own:
        _alive(module)
    return module.eval().requires_grad_(False)


def pair(name: str, weights: str | Path | None = None) -> tuple[torch.nn.Module, Model]:
    """Return a torch network and a Model with the same weights. Both compute the same."""
    module, model = network(name, weights), modelzoo.load(name, weights=None)
    if name == "inceptionv1":  # its response normalization differs from Lucent's on purpose
        own = inceptionv1.InceptionV1(lrn=inceptionv1.LUCENT_LRN)
        model = Model.from_nnx(own, name=name, preprocess=model.preprocess, input_size=model.input_size)
    return module, model.replace(params=convert(module.state_dict(), model))


class LensNet(torch.nn.Module):
    """lensnet in PyTorch, for image sizes that stay even down to the last pool."""

    def __init__(self):
        super().__init__()
        for name, cin, cout, size in (("conv2d0", 3, 24, 5), ("conv2d1", 24, 16, 1), ("conv2d2", 16, 48, 3)):
            self._conv(name, cin, cout, size)
        self.maxpool1, channels = torch.nn.MaxPool2d(3, 2, ceil_mode=True), 48
        for name, (c1, b3, c3, b5, c5, pool) in lensnet.MIXED.items():
            if name in lensnet.POOL_BEFORE:
                self.add_module(lensnet.POOL_BEFORE[name], torch.nn.MaxPool2d(3, 2, ceil_mode=True))
            self._conv(f"{name}_1x1", channels, c1, 1)
            self._conv(f"{name}_3x3_bottleneck", channels, b3, 1)
            self._conv(f"{name}_3x3", b3, c3, 3)
            self._conv(f"{name}_5x5_bottleneck", channels, b5, 1)
            self._conv(f"{name}_5x5", b5, c5, 5)
            self.add_module(f"{name}_pool", torch.nn.MaxPool2d(3, 1, 1))
            self._conv(f"{name}_pool_reduce", channels, pool, 1)
            self.add_module(name, helper_layers.CatLayer())
            channels = c1 + c3 + c5 + pool
        self.softmax2_pre_activation_matmul = torch.nn.Linear(channels, lensnet.CLASSES)

    def _conv(self, name: str, cin: int, cout: int, size: int) -> None:
        stride, padding = (2, 0) if name == "conv2d0" else (1, size // 2)  # SAME at stride 2 pads the far side more
        self.add_module(f"{name}_pre_relu_conv", torch.nn.Conv2d(cin, cout, size, stride, padding))
        self.add_module(name, torch.nn.ReLU())

    def _run(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(name)(self.get_submodule(f"{name}_pre_relu_conv")(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        x = self._run("conv2d0", torch.nn.functional.pad(x, (1, 2, 1, 2)))
        x = self.maxpool1(self._run("conv2d2", self._run("conv2d1", x)))
        for name in lensnet.MIXED:
            if name in lensnet.POOL_BEFORE:
                x = self.get_submodule(lensnet.POOL_BEFORE[name])(x)
            branches = (
                self._run(f"{name}_1x1", x),
                self._run(f"{name}_3x3", self._run(f"{name}_3x3_bottleneck", x)),
                self._run(f"{name}_5x5", self._run(f"{name}_5x5_bottleneck", x)),
                self._run(f"{name}_pool_reduce", self.get_submodule(f"{name}_pool")(x)),
            )
            x = self.get_submodule(name)(branches, 1)
        return self.softmax2_pre_activation_matmul(x.mean((2, 3)))


def _alive(module: torch.nn.Module) -> None:
    # Its default initialization leaves nothing alive after a few layers; its inputs go up to 138.
    for child in module.modules():
        if isinstance(child, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(child.weight)
            if child.bias is not None:
                torch.nn.init.zeros_(child.bias)


def render_channel(
    module: torch.nn.Module, layer: str, channel: int, steps: int, size: int = 128, seen: int | None = None
) -> np.ndarray:
    """Render one neuron by `render_vis` with its defaults, as `[H, W, 3]`.

    `seen` is the `fixed_image_size`.

    Each call gets a fresh copy of the network: `render_vis` leaves its hooks behind (its issue 45),
    and every further call on the same network is slower. That copy costs milliseconds.
    """
    np.random.seed(channel)  # noqa: NPY002 (Lucent draws from it)
    torch.manual_seed(channel)
    images = render.render_vis(
        copy.deepcopy(module).to(DEVICE),
        f"{layer.replace('.', '_')}:{channel}",
        lambda: param.image(size),
        thresholds=(steps,),
        show_image=False,
        progress=False,
        fixed_image_size=seen,
    )
    return images[0][0]
