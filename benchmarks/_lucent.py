"""torch-lucent as its users run it, for comparison."""

import copy
import warnings

import numpy as np
import torch
import torchvision

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from lucent.modelzoo.inceptionv1 import InceptionV1
    from lucent.optvis import param, render


def network(name: str, weights: str | None = None) -> torch.nn.Module:
    """A torch network with weights from a file, or random ones."""
    torch.manual_seed(0)
    module = InceptionV1() if name == "inceptionv1" else getattr(torchvision.models, name)(weights=None)
    if weights is not None:
        module.load_state_dict(torch.load(weights, weights_only=True))
    elif name == "inceptionv1":
        _alive(module)
    return module.eval().requires_grad_(False)


def _alive(module: torch.nn.Module) -> None:
    # Its default initialisation leaves nothing alive after a few layers, and it eats values up to 138.
    for child in module.modules():
        if isinstance(child, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(child.weight)
            torch.nn.init.zeros_(child.bias)


def render_channel(module: torch.nn.Module, layer: str, channel: int, steps: int, size: int = 128) -> np.ndarray:
    """One neuron by `render_vis` with its defaults, `[H, W, 3]`.

    Each call gets a fresh copy of the network: `render_vis` leaves its hooks behind (its issue 45), and every
    further call on the same network is slower. That copy costs milliseconds.
    """
    np.random.seed(channel)  # noqa: NPY002 (Lucent draws from it)
    torch.manual_seed(channel)
    images = render.render_vis(
        copy.deepcopy(module),
        f"{layer.replace('.', '_')}:{channel}",
        lambda: param.image(size),
        thresholds=(steps,),
        show_image=False,
        progress=False,
    )
    return images[0][0]
