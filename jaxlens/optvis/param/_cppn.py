"""Images as a function of the place, by a small network: compositional pattern-producing networks."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxlens._checks import check_flag, check_function, check_int, check_reals
from jaxlens._pytree import field, pytree
from jaxlens.optvis.param._base import Whole
from jaxlens.optvis.param._spatial import check_shape

Theta = tuple[tuple[Array, Array], ...]

TRUNCATED = 0.87962566  # deviation of a standard normal truncated at +-2


def _activations(x: Any) -> Array:
    x = check_reals(x, "x")
    return x if jnp.issubdtype(x.dtype, jnp.floating) and x.ndim else jnp.atleast_1d(x).astype(jnp.float32)


def composite_activation(x: Array) -> Array:
    """`[atan(x) / 0.67, atan(x)**2 / 0.6]`, twice the channels: Lucid's default."""
    a = jnp.arctan(_activations(x))
    return jnp.concatenate([a / 0.67, jnp.square(a) / 0.6], axis=-1)


def composite_activation_unbiased(x: Array) -> Array:
    """`[atan(x) / 0.67, (atan(x)**2 - 0.45) / 0.396]`: both parts of mean 0 and deviation 1 for normal x."""
    a = jnp.arctan(_activations(x))
    return jnp.concatenate([a / 0.67, (jnp.square(a) - 0.45) / 0.396], axis=-1)


def relu_normalized(x: Array) -> Array:
    """`(relu(x) - 0.40) / 0.58`: mean 0 and deviation 1 for normal x."""
    return (jnp.maximum(_activations(x), 0) - 0.40) / 0.58


@pytree
class CPPN(Whole):
    """See `cppn`."""

    shape: tuple[int, int, int, int] = field(static=True)
    hidden: int = field(static=True)
    layers: int = field(static=True)
    activation: Callable[[Array], Array] = field(static=True)
    normalize: bool = field(static=True)

    def init(self, key: PRNGKeyArray) -> Theta:
        """Kernels and biases of the layers of each image's network; the last one's are 0, so that the start is grey."""
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
        """The network's colours at every pixel, in [0, 1]."""
        _, h, w, _ = self.shape
        y, x = jnp.meshgrid(*(jnp.linspace(-math.sqrt(3), math.sqrt(3), n) for n in (h, w)), indexing="ij")
        return jax.vmap(lambda layers: self.at(layers, jnp.stack([x, y], axis=-1)))(theta)

    def at(self, layers: Any, places: Float[Array, "h w 2"]) -> Float[Array, "h w c"]:
        """The colours of one image at any places `(x, y)`; the image's corners are at +-sqrt(3)."""
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
    w: Any,
    h: Any = None,
    batch: Any = 1,
    num_output_channels: Any = 3,
    num_hidden_channels: Any = 24,
    num_layers: Any = 8,
    activation: Any = composite_activation,
    normalize: Any = False,
) -> CPPN:
    """Images in [0, 1] as a small network from place to colour: smooth, detailed at any size.

    A theta found at one size can be drawn at any other: `param.cppn(1024).to_image(theta)`, with `RenderResult.theta`.

    Args:
        w, h: size; square unless `h` is given.
        batch: how many images, each with a network of its own.
        num_output_channels: of the images.
        num_hidden_channels: of each hidden layer, before the activation (which may double them).
        num_layers: hidden layers. With the defaults there are 8451 parameters, as in Lucid. (Lucent counts the output layer
            too, and has 7275.)
        activation: `composite_activation`, `composite_activation_unbiased`, `relu_normalized`, or any function of arrays.
        normalize: instance norm of each hidden layer before its activation.

    Lucid's initialisation: variance scaling for kernels, deviation 0.1 for biases, zeros for the output. Adam with a rate of
    0.005 and no transforms suit it. Mordvintsev et al. 2018, "Differentiable image parameterizations".
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
