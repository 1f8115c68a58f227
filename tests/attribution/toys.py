"""Networks so small that every attribution is known by hand (captum's toys, and kinked functions of two numbers)."""

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
        out = fn(x[:, 0, :, 0])
        return out[:, None] if out.ndim == 1 else out

    return jaxlens.Model.from_function(
        forward, {}, preprocess=lambda x: scale * x + shift, input_size=(1, n), channels=1, name="toy"
    )


def multi_layer(scale=SCALE, shift=0.0):
    """captum's BasicModel_MultiLayer: lin0 = I, lin1 = ones with biases -10, 1, 1, 1, a ReLU, lin2 = ones with biases -1, 1."""

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
    """`min(x1, x2) + relu(x1 + x2 - 2) / 2`: gradients, integrated gradients, Shapley values and ablation differ at (3, 1)."""
    x1, x2 = x[:, 0], x[:, 1]
    return x1 - jax.nn.relu(x1 - x2) + 0.5 * jax.nn.relu(x1 + x2 - 2)
