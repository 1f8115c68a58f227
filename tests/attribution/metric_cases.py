"""Networks and pictures for the tests of metrics: sums, squares and constants of pixels, and a
small smooth network.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens import Model, site

H, W = 6, 9
SMALL = (12, 18)


def _identity(x):
    return x


def linear(params, x):
    return jnp.dot(x.reshape(x.shape[0], -1), params, precision="highest")


def squares(params, x):
    return jnp.dot(jnp.square(x.reshape(x.shape[0], -1)), params, precision="highest")


def constant(params, x):
    return jnp.broadcast_to(params[None], (x.shape[0], 2)) + 0 * x.sum((1, 2, 3))[:, None]


def toy(fn, params, size=(H, W), channels=1):
    return Model.from_function(fn, jnp.asarray(params, jnp.float32), preprocess=_identity, input_size=size, channels=channels)


def total(size=(H, W)):
    """Logit 0 is the sum of the pixels, logit 1 nothing."""
    return toy(linear, np.stack([np.ones(size).ravel(), np.zeros(size).ravel()], 1), size)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).random(shape, np.float32))  # JAX would compile a program per shape


def photos(count=2, seed=0):
    return draw(count, *SMALL, 3, seed=10 + seed)


def _mlp(params, x):
    hidden = jax.nn.softplus(jnp.dot(x.reshape(x.shape[0], -1), params["in"], precision="highest"))
    return site("hidden", lambda: hidden)() @ params["out"]


def _net():
    """A smooth network that compiles at once; its probabilities move well between 0 and 1."""
    keys = jax.random.split(jax.random.key(0))
    params = {"in": 0.3 * jax.random.normal(keys[0], (12 * 18 * 3, 8)), "out": jax.random.normal(keys[1], (8, 5))}
    return Model.from_function(_mlp, params, preprocess=_identity, input_size=SMALL, name="net")


NET = _net()
