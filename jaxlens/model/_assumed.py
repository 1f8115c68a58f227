"""Settle what an adapter cannot see of a network: its images, and their preprocessing."""

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxlens._checks import check_int
from jaxlens.errors import AssumedWarning
from jaxlens.model._names import check_labels
from jaxlens.model._preprocess import Preprocess, imagenet
from jaxlens.model._weights import own

SIZE = (224, 224)  # that of most networks


def settled(model: Any, example: Any, given: Mapping[str, Any]) -> Any:
    """Return the Model with all its options; missing ones come from the example or are assumed.

    An `AssumedWarning` tells what was assumed.

    Args:
        model: a Model with its forward function, parameters and name.
        example: images `[B, H, W, C]` as the network takes them, of which only the shape counts, or
            None.
        given: the options of the adapter that the user gave.
    """
    options, assumed = dict(given), []
    if example is not None:
        height, width, channels = _example_shape(example)
        options = {"input_size": (height, width), "channels": channels} | options
    if "input_size" not in options:
        options["input_size"] = SIZE
        assumed.append(f"images of {SIZE[0]}x{SIZE[1]} (say input_size=(height, width), or example=images)")
    options["channels"] = check_int(options.get("channels", 3), "channels", low=1)
    if "preprocess" not in options:
        options["preprocess"] = imagenet(options["channels"])
        if options["preprocess"] != Preprocess():  # which changes nothing
            assumed.append(
                "ImageNet's preprocessing (say preprocess=jaxlens.model.IMAGENET, Preprocess.mean_std(mean, std) or, "
                "for a network that takes images in [0, 1] as they are, Preprocess())"
            )
    options["input_size"] = _input_size(options["input_size"])
    unknown = [name for name in options if name not in ("preprocess", "input_size", "labels", "name", "channels")]
    if unknown:
        raise TypeError(f"{unknown[0]}= is no option; they are preprocess, input_size, example, labels, name, channels.")
    if not callable(options["preprocess"]):
        raise TypeError(f"preprocess={options['preprocess']!r} must be a function of images, such as jaxlens.model.IMAGENET.")
    options["labels"] = None if options.get("labels") is None else tuple(options["labels"])
    model = model.replace(params=own(model.params), **options)
    if model.labels is not None:
        check_labels(model.labels, model.architecture, model.name)
    if assumed:
        warnings.warn(f"{model.name}: assumed {'; and '.join(assumed)}.", AssumedWarning, stacklevel=3)
    return model


def _input_size(size: Any) -> tuple[int, int]:
    """Return (height, width), or raise."""
    if isinstance(size, int | np.integer) and not isinstance(size, bool):
        raise ValueError(f"input_size={size} must be (height, width): input_size=({size}, {size}).")
    sides = tuple(size) if isinstance(size, tuple | list) else ()
    if len(sides) != 2:
        raise ValueError(f"input_size={size!r} must be (height, width), such as (224, 224).")
    height, width = (check_int(side, f"input_size[{i}]", low=1, high=2**16) for i, side in enumerate(sides))
    return height, width


def _example_shape(example: Any) -> tuple[int, int, int]:
    shape = tuple(getattr(example, "shape", ()))
    if not isinstance(example, jax.Array | np.ndarray | jax.ShapeDtypeStruct) or len(shape) != 4:
        what = f"shape {shape}" if shape else type(example).__name__
        raise ValueError(f"example has {what}, but must be an array of images [B, H, W, C].")
    if shape[1] in (1, 3) and shape[3] > 4:
        raise ValueError(f"example has shape {shape}, which looks channels-first; images are [B, H, W, C].")
    return shape[1], shape[2], shape[3]
