"""Compositional pattern-producing networks: images as a small network from place to color."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_flag, check_function, check_int, check_reals
from jaxlens._pytree import field, pytree
from jaxlens._types import Flag, Whole
from jaxlens.optvis.param._base import NotAPair
from jaxlens.optvis.param._spatial import check_shape
from jaxlens.optvis.param._types import Activation

Theta = tuple[tuple[Array, Array], ...]

TRUNCATED = 0.87962566  # deviation of a standard normal truncated at +-2


def _activations(x: Any) -> Array:
    x = check_reals(x, "x")
    return x if jnp.issubdtype(x.dtype, jnp.floating) and x.ndim else jnp.atleast_1d(x).astype(jnp.float32)


def composite_activation(x: Array) -> Array:
    """Return `[atan(x) / 0.67, atan(x)**2 / 0.6]`: twice the channels; Lucid's default.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import param
        >>> [round(float(y), 2) for y in param.composite_activation(jnp.array([0.0, 1.0]))]
        [0.0, 1.17, 0.0, 1.03]
    """
    a = jnp.arctan(_activations(x))
    return jnp.concatenate([a / 0.67, jnp.square(a) / 0.6], axis=-1)


def composite_activation_unbiased(x: Array) -> Array:
    """Return `[atan(x) / 0.67, (atan(x)**2 - 0.45) / 0.396]`: twice the channels.

    Both parts have mean 0 and deviation 1 for normal x.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import param
        >>> param.composite_activation_unbiased(jnp.zeros((24, 32, 8))).shape
        (24, 32, 16)
    """
    a = jnp.arctan(_activations(x))
    return jnp.concatenate([a / 0.67, (jnp.square(a) - 0.45) / 0.396], axis=-1)


def relu_normalized(x: Array) -> Array:
    """Return `(relu(x) - 0.40) / 0.58`: mean 0 and deviation 1 for normal x.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens.optvis import param
        >>> [round(float(y), 2) for y in param.relu_normalized(jnp.array([-1.0, 0.4, 0.98]))]
        [-0.69, 0.0, 1.0]
    """
    return (jnp.maximum(_activations(x), 0) - 0.40) / 0.58


@pytree
class CPPN(NotAPair):
    """See `cppn`."""

    shape: tuple[int, int, int, int] = field(static=True)
    hidden: int = field(static=True)
    layers: int = field(static=True)
    activation: Callable[[Array], Array] = field(static=True)
    normalize: bool = field(static=True)

    def init(self, key: PRNGKeyArray) -> Theta:
        """Return kernels and biases of each image's network; those of the output layer are 0."""
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(self.shape[0], dtype=jnp.uint32))
        return jax.vmap(self._start)(keys)

    def _start(self, key: PRNGKeyArray) -> Theta:
        wide = jax.eval_shape(self.activation, jax.ShapeDtypeStruct((1, self.hidden), jnp.float32)).shape[-1]
        theta, last = [], 2
        for number in range(self.layers):
            kernel, bias = jax.random.split(jax.random.fold_in(key, number))
            deviation = math.sqrt(1 / last) / TRUNCATED
            weights = jax.random.truncated_normal(kernel, -2, 2, (last, self.hidden), jnp.float32) * deviation
            theta.append((weights, jax.random.normal(bias, (self.hidden,), jnp.float32) * 0.1))
            last = wide
        output = (jnp.zeros((last, self.shape[3]), jnp.float32), jnp.zeros(self.shape[3], jnp.float32))
        return (*theta, output)

    def to_image(self, theta: Theta) -> Float[Array, "b h w c"]:
        """Return the colors of the networks at every pixel, in [0, 1]."""
        _, h, w, _ = self.shape
        y, x = jnp.meshgrid(*(jnp.linspace(-math.sqrt(3), math.sqrt(3), n) for n in (h, w)), indexing="ij")
        return jax.vmap(lambda layers: self.at(layers, jnp.stack([x, y], axis=-1)))(theta)

    def at(self, layers: Any, places: Float[Array, "h w 2"]) -> Float[Array, "h w c"]:
        """Return one image's colors at any places `(x, y)`; its corners are at +-sqrt(3)."""
        net = places
        *hidden, (kernel, bias) = layers
        for weights, offset in hidden:
            net = jnp.matmul(net, weights, precision="highest") + offset[None, None]
            if self.normalize:
                mean, var = net.mean((0, 1), keepdims=True), net.var((0, 1), keepdims=True)
                net = (net - mean) * jax.lax.rsqrt(var + 1e-6)
            net = self.activation(net)
        return jax.nn.sigmoid(jnp.matmul(net, kernel, precision="highest") + bias[None, None])


def cppn(
    w: Whole,
    h: Whole | None = None,
    batch: Whole = 1,
    num_output_channels: Whole = 3,
    num_hidden_channels: Whole = 24,
    num_layers: Whole = 8,
    activation: Activation = composite_activation,
    normalize: Flag = False,
) -> CPPN:
    """Images in [0, 1] as a small network from place to color: smooth, and sharp at any size.

    Optimize at one size and draw at another: `param.cppn(1024).to_image(theta)` with the
    `RenderResult.theta` of a smaller render. Adam with a rate of 0.005 and no transforms suit it.

    Mordvintsev et al. 2018, "Differentiable image parameterizations". The start is Lucid's:
    variance scaling for kernels, deviation 0.1 for biases, zeros for the output layer.

    Args:
        w: the width.
        h: the height; `w` by default.
        batch: how many images, each with a network of its own.
        num_output_channels: channels of the images.
        num_hidden_channels: channels of each hidden layer before the activation, which may double
            them.
        num_layers: hidden layers. With the defaults there are 8451 parameters, as in Lucid. (Lucent
            counts the output layer too, and has 7275.)
        activation: `composite_activation`, `composite_activation_unbiased`, `relu_normalized`, or
            any other function of arrays.
        normalize: apply instance norm to each hidden layer before its activation.

    Example:
        >>> import jax
        >>> from jaxlens.optvis import param
        >>> p = param.cppn(32, 24, num_layers=1)
        >>> theta = p.init(jax.random.key(0))
        >>> param.cppn(128, 96, num_layers=1).to_image(theta).shape  # four times the size
        (1, 96, 128, 3)
    """
    names = ("batch", "h", "w", "num_output_channels")
    shape = check_shape((batch, w if h is None else h, w, num_output_channels), names)
    function: Callable[[Array], Array] = activation
    check_function(function, "activation", "param.composite_activation")
    return CPPN(
        shape=shape,
        hidden=check_int(num_hidden_channels, "num_hidden_channels", low=1, high=4096),
        layers=check_int(num_layers, "num_layers", low=1, high=256),
        activation=function,
        normalize=check_flag(normalize, "normalize"),
    )
