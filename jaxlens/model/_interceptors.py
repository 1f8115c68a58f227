"""Interceptors that ablate, replace or perturb the output of a layer."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import is_known, owned, shortened
from jaxlens._pytree import field, pytree
from jaxlens._types import Channels, Text, Values
from jaxlens.model._sites import Site


@pytree
class Ablate:
    """See `ablate`."""

    channels: Array  # [K] numbers, or a mask until the model is known
    value: Float[Array, "..."]
    layer: str = field(static=True)

    def __call__(self, site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        return out.at[..., self.channels].set(self.value.astype(out.dtype)) if site.name == self.layer else out


@pytree
class Replace:
    """See `replace`."""

    value: Float[Array, "b ..."]
    layer: str = field(static=True)

    def __call__(self, site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        if site.name != self.layer:
            return out
        _check_fits(self.value, out, "value", self.layer)
        return jnp.broadcast_to(self.value, out.shape).astype(out.dtype)

    def batch_axes(self) -> int | None:
        return 0 if self.value.shape[0] > 1 else None


@pytree
class Perturb:
    """See `perturb`."""

    delta: Float[Array, "b ..."]
    layer: str = field(static=True)

    def __call__(self, site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        if site.name != self.layer:
            return out
        _check_fits(self.delta, out, "delta", self.layer)
        return out + self.delta.astype(out.dtype)

    def batch_axes(self) -> int | None:
        return 0 if self.delta.shape[0] > 1 else None


def ablate(layer: Text, channels: Channels, value: Values = 0.0) -> Ablate:
    """Set some channels of a layer to `value` at every position.

    Args:
        layer: its name.
        channels: a number, several, or a mask of bools, one per channel, that is true for the
            channels to set. They are checked against the layer once the model is known: JAX would
            ignore a number out of range.
        value: a finite number, or one for each channel that is set.

    Example:
        >>> import jax
        >>> from jaxlens import Model, activations, modelzoo
        >>> from jaxlens.model import IMAGENET, interceptors
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = activations(model, images, ["relu1"], [interceptors.ablate("relu1", [3, 5])])
        >>> float(abs(found["relu1"][..., [3, 5]]).max())
        0.0
    """
    numbers = _channels(channels)
    values = _finite(value, "value")
    if values.ndim > 1 or (values.ndim == 1 and numbers.dtype != bool and values.shape[0] not in (1, numbers.shape[0])):
        raise ValueError(
            f"value has shape {values.shape}, but must be a number, or one for each of {numbers.shape[0]} channels."
        )
    if values.size > 1 and numbers.dtype != bool and is_known(numbers):
        twice = sorted({int(each) for each in numbers if (numbers == each).sum() > 1})
        if twice:
            raise ValueError(f"channels={shortened(channels)} names {twice} more than once, with a value each.")
    return Ablate(channels=numbers, value=values, layer=_name(layer))


def replace(layer: Text, value: Values) -> Replace:
    """Make a layer output `value`: activation patching.

    Args:
        layer: its name.
        value: finite numbers, `[B, ...]` with one entry per image, or `[1, ...]` for all images.

    Example:
        >>> import jax
        >>> from jaxlens import Model, activations, modelzoo
        >>> from jaxlens.model import IMAGENET, interceptors
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> donor = activations(model, images[:1], ["relu4"])["relu4"]
        >>> patched = activations(model, images, ["relu4"], [interceptors.replace("relu4", donor)])
        >>> bool((patched["relu4"][1] == donor[0]).all())
        True
    """
    return Replace(value=_with_images(value, "value"), layer=_name(layer))


def perturb(layer: Text, delta: Values) -> Perturb:
    """Add `delta` to what a layer outputs.

    The gradient of a score with respect to a zero `delta` is its gradient at that layer.

    Args:
        layer: its name.
        delta: finite numbers, `[B, ...]` with one entry per image, or `[1, ...]` for all images.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxlens import Model, activations, modelzoo
        >>> from jaxlens.model import IMAGENET, interceptors
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> def score(delta):
        ...     added = interceptors.perturb("relu4", delta)
        ...     return activations(model, images, ["logits"], [added])["logits"][:, 0].sum()
        >>> jax.grad(score)(jnp.zeros((2, 512))).shape
        (2, 512)
    """
    return Perturb(delta=_with_images(delta, "delta"), layer=_name(layer))


def _name(layer: Any) -> str:
    if isinstance(layer, str):
        return layer
    hint = f" It is a Layer: give layer.name, {layer.name!r}." if hasattr(layer, "name") else ""
    raise TypeError(f"layer={layer!r} must be the name of a layer, such as 'mixed4a'.{hint}")


def _channels(channels: Any) -> jax.Array:
    """Return numbers `[K]` or a mask as an array; refuse floats, which JAX would cut silently."""
    legal = f"channels={channels!r} must be a channel, several, or a mask of bools, one per channel of the layer."
    if channels is None or isinstance(channels, str | bytes):
        raise TypeError(legal)
    try:  # NumPy first: JAX would cut numbers of 64 bits to 32
        given = channels if isinstance(channels, jax.Array) else np.asarray(channels)
        found = jnp.atleast_1d(given) if isinstance(given, jax.Array) else np.atleast_1d(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(legal) from error
    flags = sum(isinstance(each, bool | np.bool_) for each in channels) if isinstance(channels, list | tuple) else 0
    mixed = 0 < flags < found.size
    whole = jnp.issubdtype(found.dtype, jnp.integer) or found.dtype == bool
    if found.ndim != 1 or not found.shape[0] or not whole or mixed:
        raise TypeError(legal)
    if found.dtype == bool:
        return jnp.asarray(found)
    if not is_known(found):
        return jnp.asarray(found).astype(jnp.int32)
    numbers = [int(each) for each in np.asarray(found)]
    if far := [each for each in numbers if not -(2**31) <= each < 2**31]:
        raise ValueError(f"channels={far} are no numbers of channels.")
    return jnp.asarray(numbers, jnp.int32)


def _finite(value: Any, name: str) -> jax.Array:
    if value is None or isinstance(value, str | bytes):
        raise TypeError(f"{name}={value!r} must be numbers.")
    try:
        found = value if isinstance(value, jax.Array) else owned(np.asarray(value))
    except jax.errors.TracerArrayConversionError:  # a list of traced numbers
        found = jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name}={value!r} must be numbers.") from error
    if not (jnp.issubdtype(found.dtype, jnp.floating) or jnp.issubdtype(found.dtype, jnp.integer)):
        raise TypeError(f"{name} has dtype {found.dtype}, but real numbers are needed.")
    found = found if jnp.issubdtype(found.dtype, jnp.floating) else found.astype(jnp.float32)
    if found.size == 0:
        raise ValueError(f"{name} has shape {found.shape}: it holds no numbers.")
    if is_known(found) and not bool(jnp.isfinite(found).all()):
        raise ValueError(f"{name} holds NaN or infinite values.")
    return found


def _check_fits(values: jax.Array, out: jax.Array, name: str, layer: str) -> None:
    """Raise for values of another size, and for those that would make several images of one."""
    if values.ndim != out.ndim or any(n not in (1, m) for n, m in zip(values.shape, out.shape, strict=True)):
        raise ValueError(
            f"{name} has shape {values.shape}, but layer {layer!r} outputs {out.shape} here: give [1, ...] for all "
            "images, or one for each."
        )


def _with_images(value: Any, name: str) -> jax.Array:
    found = _finite(value, name)
    if found.ndim < 2:
        raise ValueError(
            f"{name} has shape {found.shape}, but [B, ...] with the layer's axes is needed, or [1, ...] for all images."
        )
    return found


def bind(model: Any, interceptors: Sequence[Any]) -> tuple[Any, ...]:
    """Return interceptors as pytrees with canonical layer names, checked against the model."""
    if not isinstance(interceptors, Sequence) or isinstance(interceptors, str | bytes):
        raise TypeError(f"interceptors={shortened(interceptors)} must be a list of interceptors, such as [ablate(...)].")
    return tuple(_bind(model, interceptor) for interceptor in interceptors)


def _bind(model: Any, interceptor: Any) -> Any:
    if not isinstance(interceptor, Ablate | Replace | Perturb):
        if not callable(interceptor):
            raise TypeError(f"interceptors must be callables (site, call, *args) -> output, but got {interceptor!r}.")
        return interceptor if jax.tree.leaves(interceptor) != [interceptor] else jax.tree_util.Partial(interceptor)
    name = model.resolve(interceptor.layer)
    layer = model.layers[name]
    changes: dict[str, Any] = {"layer": name}
    if isinstance(interceptor, Ablate):
        changes["channels"] = _in_layer(interceptor.channels, layer.channels, name, model.name)
        several = interceptor.value.ndim == 1 and interceptor.value.shape[0] not in (1, changes["channels"].shape[0])
        if several:
            raise ValueError(
                f"value has {interceptor.value.shape[0]} numbers for {changes['channels'].shape[0]} channels of layer {name!r}."
            )
    else:
        given = interceptor.value if isinstance(interceptor, Replace) else interceptor.delta
        if given.ndim != len(layer.shape) + 1:
            raise ValueError(f"Values of shape {given.shape} do not fit layer {name!r}, whose output is [B, {layer.shape}].")
    return type(interceptor)(**(vars(interceptor) | changes))


def _in_layer(channels: jax.Array, total: int, layer: str, model: str) -> jax.Array:
    """Return the numbers of a layer's channels, from numbers or a mask."""
    if channels.dtype == bool:
        if channels.shape != (total,):
            raise ValueError(
                f"channels is a mask of {channels.shape[0]} bools, but layer {layer!r} of {model} has {total} channels."
            )
        if not is_known(channels):
            raise TypeError("channels is a mask that is traced, so how many it holds is not known: give numbers under jit.")
        return jnp.asarray(np.flatnonzero(np.asarray(channels)), jnp.int32)
    if not is_known(channels):
        return channels
    bad = [int(c) for c in channels if not 0 <= int(c) < total]
    if bad:
        raise ValueError(f"channels={bad} are outside 0..{total - 1} of layer {layer!r} of {model}.")
    return channels
