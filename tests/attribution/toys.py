"""Networks so small that every attribution is known by hand (captum's toys, kinked functions), and
a small one with layers.

Cached where many tests ask for them, because another function is another program.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxlens
from jaxlens import site

SCALE = 128.0  # of the numbers that a toy eats: images are in [0, 1], and a power of two is exact


def image(rows, scale=SCALE, shift=0.0):
    """Numbers `[B, n]` as images `[B, 1, n, 1]`."""
    x = jnp.atleast_2d(jnp.asarray(rows, jnp.float32))
    return ((x - shift) / scale)[:, None, :, None]


def vector_model(fn, n, scale=SCALE, shift=0.0):
    """A Model of `fn([B, n]) -> [B, k]` or `[B]`."""

    def forward(params, x):
        out = fn(x.reshape(x.shape[0], n))
        return out[:, None] if out.ndim == 1 else out

    return jaxlens.Model.from_function(
        forward, {}, preprocess=lambda x: scale * x + shift, input_size=(1, n), channels=1, name="toy"
    )


@functools.cache
def multi_layer(scale=SCALE, shift=0.0):
    """captum's BasicModel_MultiLayer: lin0 = I, lin1 = ones with biases -10, 1, 1, 1, a ReLU, lin2
    = ones with biases -1, 1.
    """

    def fn(x):
        h = site("lin0", lambda x: x @ jnp.eye(3))(x)
        h = site("lin1", lambda x: x @ jnp.ones((3, 4)) + jnp.asarray([[-10.0, 1, 1, 1]]))(h)
        h = site("relu", jax.nn.relu)(h)
        return site("lin2", lambda h: h @ jnp.ones((4, 2)) + jnp.asarray([[-1.0, 1]]))(h)

    return vector_model(fn, 3, scale, shift)


def one_conv():
    """captum's BasicModel_ConvNet_One_Conv on 4 x 4 pixels 0..15."""

    def forward(params, x):
        dims = ("NHWC", "HWIO", "NHWC")
        conv = lambda x: jax.lax.conv_general_dilated(x, jnp.ones((3, 3, 1, 2)), (1, 1), "VALID", dimension_numbers=dims)  # noqa: E731
        h = site("conv1", lambda x: conv(x) + jnp.asarray([-50.0, -75.0])[None, None, None])(x)
        h = site("relu1", jax.nn.relu)(h)
        flat = h.transpose(0, 3, 1, 2).reshape(h.shape[0], -1)
        weights = jnp.broadcast_to(jnp.asarray([1.0, 1, 1, 1, 1, -1, -1, -1])[:, None], (8, 4))
        return jax.nn.relu(flat @ weights)

    return jaxlens.Model.from_function(
        forward, {}, preprocess=lambda x: 16.0 * x, input_size=(4, 4), channels=1, name="one_conv"
    )


def one_conv_image():
    """Pixels 0..15."""
    return jnp.asarray(np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1) / 16)


def kinked(x):
    """`min(x1, x2) + relu(x1 + x2 - 2) / 2`: gradients, integrated gradients, Shapley values and
    ablation differ at (3, 1).
    """
    x1, x2 = x[:, 0], x[:, 1]
    return x1 - jax.nn.relu(x1 - x2) + 0.5 * jax.nn.relu(x1 + x2 - 2)


@functools.cache
def kinked_model():
    """Return `kinked` as a model of `image(..., scale=4)`."""
    return vector_model(kinked, 2, 4.0)


def linear(weights, bias=0.0):
    """Two classes: `weights x + bias` is the second."""
    weights = jnp.asarray(weights, jnp.float32)
    score = lambda x: (x * weights[None]).sum(1, keepdims=True) + bias  # noqa: E731
    return vector_model(lambda x: jnp.concatenate([-score(x), score(x)], axis=1), len(weights), 1.0)


@functools.cache
def net(seed=0, classes=4):
    """A convolution of stride 2 ("maps", [B, 4, 6, 5]), a kink, and products of its means: nothing
    is linear.
    """
    rng, shapes = np.random.default_rng(seed), {"kernel": (3, 3, 3, 5), "head": (5, classes), "place": (4, 6, 5)}
    params = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}

    def convolution(params, x):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, params["kernel"], (2, 2), "SAME", dimension_numbers=layout)

    def forward(params, x):
        maps = site("maps", lambda x: jax.nn.relu(convolution(params, x)))(x)
        vector = site("vector", lambda x: jnp.tanh((x * params["place"][None]).mean((1, 2))))(maps)
        return (vector + jnp.square(vector)) @ params["head"]

    return jaxlens.Model.from_function(forward, params, preprocess=lambda x: x, input_size=(8, 12))


def pictures(count=2, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(count, 8, 12, 3)), jnp.float32)
