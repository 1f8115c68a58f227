"""Small functions whose attributions are known, as models of images `[B, 1, n, 1]`, and a small network with layers.

Cached, because another function is another program.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxlens
from jaxlens.model import Model

UNIT = 128.0  # of the inputs of captum's toys, a power of 2: exact


def game(fn, inputs=3, scale=UNIT):
    """A model of `fn(x [B, n]) -> [B, classes]` and a function that makes images of its inputs."""

    def forward(params, images):
        return fn(images.reshape(images.shape[0], inputs))

    return Model.from_function(forward, {}, preprocess=lambda x: scale * x, input_size=(1, inputs), channels=1)


def row(*inputs, scale=UNIT):
    """Images for a game: one for each list of inputs."""
    return jnp.asarray(inputs, jnp.float32)[:, None, :, None] / scale


@functools.cache
def multi_layer():
    """captum's: 3 -> 4 with a kink in the first unit -> 2; from x = [0, 100, 0] to 0 its score changes by 390."""

    def fn(x):
        bias = jnp.asarray([-10.0, 1.0, 1.0, 1.0])
        hidden = jaxlens.site("lin1", lambda x: x.sum(1, keepdims=True) + bias[None])(x)
        total = jax.nn.relu(hidden).sum(1, keepdims=True)
        return jnp.concatenate([total - 1, total + 1], axis=1)

    return game(fn)


@functools.cache
def kinked():
    """`min(x1, x2) + relu(x1 + x2 - 2) / 2`: at (3, 1) most methods differ."""

    def fn(x):
        a, b = x[:, 0], x[:, 1]
        return (a - jax.nn.relu(a - b) + jax.nn.relu(a + b - 2) / 2)[:, None]

    return game(fn, 2, 4.0)


def linear(weights, bias=0.0):
    """Two classes: `weights x + bias` is the second."""
    weights = jnp.asarray(weights, jnp.float32)
    score = lambda x: (x * weights[None]).sum(1, keepdims=True) + bias  # noqa: E731
    return game(lambda x: jnp.concatenate([-score(x), score(x)], axis=1), len(weights), 1.0)


@functools.cache
def net(seed=0, classes=4):
    """A convolution of stride 2 ("maps", [B, 4, 6, 5]), a kink, and products of its means: nothing is linear."""
    rng, shapes = np.random.default_rng(seed), {"kernel": (3, 3, 3, 5), "head": (5, classes), "place": (4, 6, 5)}
    params = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}

    def convolution(params, x):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, params["kernel"], (2, 2), "SAME", dimension_numbers=layout)

    def forward(params, x):
        maps = jaxlens.site("maps", lambda x: jax.nn.relu(convolution(params, x)))(x)
        vector = jaxlens.site("vector", lambda x: jnp.tanh((x * params["place"][None]).mean((1, 2))))(maps)
        return (vector + jnp.square(vector)) @ params["head"]

    return Model.from_function(forward, params, preprocess=lambda x: x, input_size=(8, 12))


def pictures(count=2, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(count, 8, 12, 3)), jnp.float32)
