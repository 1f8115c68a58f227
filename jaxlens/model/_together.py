"""Several models as one, so that one objective can use layers of all of them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxlens.model import _architecture
from jaxlens.model._sites import prefixed


@dataclasses.dataclass(frozen=True)
class Member:
    """What the joint forward pass needs of one model."""

    name: str
    forward: Callable[[Any, jax.Array], Any]
    preprocess: Callable[[jax.Array], jax.Array]
    input_size: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class JointForward:
    """The forward passes of several models on the same images."""

    members: tuple[Member, ...]
    input_size: tuple[int, ...]

    def __call__(self, params: Any, images: jax.Array) -> jax.Array:
        logits = []
        for member in self.members:
            with prefixed(member.name):
                seen = self._resized(images, member)
                logits.append(_architecture.through(member.forward, member.preprocess, params[member.name], seen))
        return jnp.concatenate([each.reshape(len(images), -1) for each in logits], axis=-1)

    def _resized(self, images: jax.Array, member: Member) -> jax.Array:
        """Return the images at the member's scale: its input size relative to the largest one."""
        sides = zip(images.shape[1:3], member.input_size, self.input_size, strict=True)
        size = tuple(round(n * own / full) for n, own, full in sides)
        if size == images.shape[1:3]:
            return images
        return jax.image.resize(images, (images.shape[0], *size, images.shape[3]), "linear")


def joined(models: Any, model_class: type) -> dict[str, Any]:
    """Return the attributes of the joint Model of several; see `Model.from_models`."""
    if not isinstance(models, Mapping) or not models:
        raise ValueError("models must be a dict of Models by name, not empty, such as {'a': model}.")
    for name, model in models.items():
        if not isinstance(model, model_class):
            raise TypeError(f"models[{name!r}]={model!r} must be a Model.")
        if not name or "." in name or "@" in name or name in ("input", "logits", "labels"):
            raise ValueError(f"models has the name {name!r}: use a word without '.' and '@', such as 'a'.")
        if model.rule is not None:
            raise ValueError(
                f"models[{name!r}] has a gradient rule; give it to the whole: `Model.from_models(...).with_gradient_rule`."
            )
    counts = {name: model.channels for name, model in models.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"models take different numbers of channels, {counts}; they must be one.")
    size = tuple(max(sides) for sides in zip(*(model.input_size for model in models.values()), strict=True))
    members = tuple(Member(name, model.forward, model.preprocess, model.input_size) for name, model in models.items())
    return {
        "params": {name: model.params for name, model in models.items()},
        "forward": JointForward(members, size),
        "preprocess": jnp.asarray,
        "input_size": size,
        "name": "+".join(models),
        "channels": next(iter(counts.values())),
    }
