"""Inputs to try an import with, and what it assumes by default: sizes, channels, preprocessing."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import torch
from torch import nn

from jaxlens._checks import check_int
from jaxlens.errors import AssumedWarning
from jaxlens.graph import Graph
from jaxlens.graph._ir import Op, Ref
from jaxlens.model import Preprocess
from jaxlens.model._preprocess import imagenet

from ._graph import as_numpy
from ._torchvision import is_from_torchvision

# For a module that takes bytes as floats, and scales them itself.
BYTES = Preprocess.value_range(0.0, 255.0)
SEVERAL = "To look inside, wrap it in a module whose forward takes the images and closes over the others, and import that."
# Operators between an input and the first arithmetic with it.
_SAME = ("to", "float", "half", "double", "type", "_to_copy", "fixed_size", "contiguous", "clone", "permute", "getitem", "flip")


def sizes(input_size: Any, module: nn.Module) -> tuple[tuple[int, int], bool]:
    """Return height and width, and whether they are known and not assumed."""
    if input_size is not None:
        if not isinstance(input_size, tuple | list) or len(input_size) != 2:
            raise ValueError(f"input_size={input_size!r} must be (height, width), such as (224, 224).")
        height, width = (check_int(n, f"input_size[{i}]", low=1) for i, n in enumerate(input_size))
        return (height, width), True
    published = _config(module).get("input_size")
    if published and len(published) == 3:
        return (int(published[1]), int(published[2])), True
    return (224, 224), is_from_torchvision(module)


def random_images(module: nn.Module, size: tuple[int, int]) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield batches of two to try: of 3 channels, of the first convolution's number, and of 1.

    Numbers lie in [-2, 2], as after preprocessing; then in [0, 1], for networks that take a root or
    a logarithm of them.
    """
    first = next((m.in_channels for m in module.modules() if isinstance(m, nn.Conv2d)), 3)
    generator = torch.Generator().manual_seed(0)
    for low, high in ((-2, 2), (0, 1)):
        for channels in dict.fromkeys((3, int(first), 1)):
            yield (torch.rand(2, channels, *size, generator=generator) * (high - low) + low,)


def examples(example: Any) -> tuple[torch.Tensor, ...]:
    """Return the tensors of `example`, with floats as float32."""
    inputs = tuple(example) if isinstance(example, tuple | list) else (example,)
    for x in inputs:
        if not isinstance(x, torch.Tensor) or not x.ndim or x.shape[0] < 2:
            kind = f"shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
            raise TypeError(f"example={kind} must be a tensor with a batch axis of 2 or more, or a tuple of such.")
    return tuple(x.detach().float() if x.is_floating_point() else x for x in inputs)


def ours(x: Any) -> np.ndarray:
    """Return an input of PyTorch's as a NumPy array, channels last."""
    array = as_numpy(x)
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def preprocessing(module: nn.Module, given: torch.Tensor, graph: Graph) -> tuple[Preprocess, str]:
    """Return the preprocessing from images in [0, 1] to a module's inputs, and what it assumes.

    The text is empty if nothing is assumed.
    """
    channels, config = given.shape[1], _config(module)
    if given.dtype == torch.uint8:
        return BYTES, ""
    if not given.is_floating_point() or _takes_bytes(graph):
        return BYTES, "that the module takes values in [0, 255], as it divides by 255 or takes integers"
    mean, std = (tuple(map(float, config.get(key) or ())) for key in ("mean", "std"))
    if mean and std:
        if len(mean) == channels:
            return Preprocess.mean_std(mean, std), ""
        if channels == 1:
            return Preprocess.mean_std((sum(mean) / len(mean),), (sum(std) / len(std),)), ""
    if channels == 3:
        told = "" if is_from_torchvision(module) else "ImageNet's preprocessing (mean 0.485 0.456 0.406, std 0.229 0.224 0.225)"
        return imagenet(3), told
    if channels == 1:
        return imagenet(1), "ImageNet's preprocessing, averaged over the channels (mean 0.449, std 0.226)"
    return Preprocess(), ""  # images are unchanged, so there is nothing to say


def checked_preprocess(preprocess: Callable[[jax.Array], jax.Array], channels: int, size: tuple[int, ...]) -> None:
    """Refuse a preprocessing for another number of channels, which would broadcast."""
    image = jax.ShapeDtypeStruct((1, *size, channels), "float32")
    try:
        if isinstance(preprocess, Preprocess):
            found = max(channels, len(preprocess.scale), len(preprocess.offset))
        else:
            found = jax.eval_shape(preprocess, image).shape[-1]
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"preprocess={preprocess!r} does not run on images of {channels} channels ({reason}).") from error
    if found != channels:
        raise ValueError(
            f"preprocess={preprocess!r} makes {found} channels of {channels}, and the module takes {channels}. "
            "Give one with as many means as the module has channels: Preprocess.mean_std((0.45,), (0.22,)) for gray images."
        )


def checked_labels(labels: Sequence[str] | None, outputs: int, name: str) -> tuple[str, ...] | None:
    """Return one label per output, or raise an error."""
    if labels is None:
        return None
    labels = tuple(labels)
    wrong = next((label for label in labels if not isinstance(label, str)), None)
    if wrong is not None:
        raise TypeError(f"labels must be strings, but one is {wrong!r} ({type(wrong).__name__}).")
    if len(labels) != outputs:
        raise ValueError(f"labels has {len(labels)} names, but {name} has {outputs} outputs: give one name for each output.")
    return labels


def tell(name: str, assumed: list[str], inputs: int) -> None:
    """Warn once of all that is assumed, and once of the limits of several inputs."""
    if inputs > 1:
        text = f"{name} takes {inputs} inputs: only model.forward(model.params, *inputs) takes them. {SEVERAL}"
        warnings.warn(text, UserWarning, stacklevel=3)
    if assumed:
        warnings.warn(f"from_torch({name}) assumes {'; '.join(assumed)}.", AssumedWarning, stacklevel=3)


def _config(module: nn.Module) -> dict[str, Any]:
    """Return timm's description of a module's weights."""
    config = getattr(module, "pretrained_cfg", None)
    return config if isinstance(config, dict) else {}


def _takes_bytes(graph: Graph) -> bool:
    """Return whether the first operation on the image is a division by 255."""
    image = {graph.inputs[0]}
    for _, node in graph.walk():
        if not (isinstance(node, Op) and node.args and isinstance(node.args[0], Ref) and node.args[0].name in image):
            continue
        if node.op in _SAME:
            image.add(node.out)
        elif len(node.args) > 1 and isinstance(node.args[1], int | float):
            value = float(node.args[1])
            if (node.op in ("div", "truediv") and value in (255, 256)) or (node.op == "mul" and abs(value * 255 - 1) < 1e-2):
                return True
    return False
