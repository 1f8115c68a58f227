"""Maps from images in [0, 1] to the value range that a network was trained on."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_number, shortened


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """The affine map `images * scale + offset`, per channel.

    A wrong value range is the most common bug in feature visualization and fails silently, so
    every Model has its own. It is hashable: two models with the same range share programs.
    `IMAGENET` is that of torchvision's classification weights, `INCEPTION` that of Lucid's
    InceptionV1 (`images * 255 - 117`).

    Attributes:
        scale: finite numbers, one per channel or one for all.
        offset: the same.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.model import IMAGENET, Preprocess
        >>> Preprocess.mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) == IMAGENET
        True
        >>> Preprocess.value_range(-1, 1)(jnp.array([0.0, 0.5, 1.0])).tolist()
        [-1.0, 0.0, 1.0]
    """

    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        for name in ("scale", "offset"):
            object.__setattr__(self, name, _numbers(getattr(self, name), name))

    def __call__(self, images: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        scale, offset = (jnp.asarray(v, images.dtype) for v in (self.scale, self.offset))
        return images * scale.reshape((1,) * (images.ndim - 1) + (-1,)) + offset.reshape((1,) * (images.ndim - 1) + (-1,))

    @classmethod
    def mean_std(cls, mean: tuple[float, ...], std: tuple[float, ...]) -> "Preprocess":
        """Return the map `(images - mean) / std`, torchvision's `Normalize`."""
        mean, std = _numbers(mean, "mean"), _numbers(std, "std", above=0)
        if len(mean) != len(std):
            raise ValueError(f"mean={mean} and std={std} must be of as many channels.")
        return cls(tuple(1 / s for s in std), tuple(-m / s for m, s in zip(mean, std, strict=True)))

    @classmethod
    def value_range(cls, low: float, high: float) -> "Preprocess":
        """Return the map from [0, 1] to [low, high]."""
        low, high = check_number(low, "low"), check_number(high, "high")
        if not low < high:
            raise ValueError(f"low={low} must be below high={high}.")
        return cls((high - low,), (low,))


def _numbers(value: Any, name: str, *, above: float = -np.inf) -> tuple[float, ...]:
    """Return numbers, one for each channel or one for all, or raise."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes):
        raise TypeError(f"{name}={shortened(value)} must be numbers, one for each channel or one for all, such as (0.5,).")
    numbers = tuple(check_number(each, name, above=above) for each in value)
    if not numbers:
        raise ValueError(f"{name}={shortened(value)} is empty: give numbers, one for each channel or one for all.")
    return numbers


@dataclasses.dataclass(frozen=True)
class Cast:
    """Any preprocessing, then a cast to another dtype."""

    preprocess: Callable[[Any], Any]
    dtype: str

    def __call__(self, images: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        return self.preprocess(images).astype(self.dtype)


# torchvision's ImageNet statistics: the preprocessing of all its classification weights.
IMAGENET = Preprocess.mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def imagenet(channels: int) -> Preprocess:
    """Return the preprocessing to assume of a network: ImageNet's statistics.

    For one channel they are averaged, as timm does; for other numbers of channels, which ImageNet
    does not have, nothing is changed.
    """
    if channels == 3:
        return IMAGENET
    return Preprocess.mean_std((0.449,), (0.226,)) if channels == 1 else Preprocess()


# Lucid's InceptionV1 takes x * 255 - 117 (lucid/modelzoo/other_models/InceptionV1.py).
INCEPTION = Preprocess.value_range(-117.0, 138.0)
