"""From images in [0, 1] to the value range a network was trained on."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """The affine map `images * scale + offset`, per channel.

    A wrong value range is the most common bug in feature visualization and fails silently, so
    a Model owns its own. Static and hashable: two models with the same range share programs.
    """

    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)

    def __call__(self, images: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        scale, offset = (jnp.asarray(v, images.dtype) for v in (self.scale, self.offset))
        return images * scale.reshape((1,) * (images.ndim - 1) + (-1,)) + offset.reshape((1,) * (images.ndim - 1) + (-1,))

    @classmethod
    def mean_std(cls, mean: tuple[float, ...], std: tuple[float, ...]) -> "Preprocess":
        """`(images - mean) / std`, torchvision's `Normalize`."""
        return cls(tuple(1 / s for s in std), tuple(-m / s for m, s in zip(mean, std, strict=True)))

    @classmethod
    def value_range(cls, low: float, high: float) -> "Preprocess":
        """[0, 1] stretched to [low, high]."""
        if not low < high:
            raise ValueError(f"low={low} must be below high={high}.")
        return cls((high - low,), (low,))


@dataclasses.dataclass(frozen=True)
class Rounded:
    """Any preprocessing, and then another dtype."""

    preprocess: Callable[[Any], Any]
    dtype: str

    def __call__(self, images: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        return self.preprocess(images).astype(self.dtype)


# torchvision's ImageNet statistics: the preprocessing of all its classification weights.
IMAGENET = Preprocess.mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def imagenet(channels: int) -> Preprocess:
    """What is assumed of a network nobody said anything about: ImageNet's statistics, averaged for one channel as timm does;
    none for other numbers of channels, which ImageNet does not have."""
    if channels == 3:
        return IMAGENET
    return Preprocess.mean_std((0.449,), (0.226,)) if channels == 1 else Preprocess()


# Lucid's InceptionV1 takes x * 255 - 117 (lucid/modelzoo/other_models/InceptionV1.py).
INCEPTION = Preprocess.value_range(-117.0, 138.0)
