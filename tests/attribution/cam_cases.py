"""The class activation maps by kind, and a network on which every gradient-based map is the same
one.
"""

import functools

import jax
import jax.numpy as jnp

from jaxlens import site
from jaxlens.attribution.cam._cam import (
    eigen_cam,
    eigen_grad_cam,
    grad_cam,
    grad_cam_elementwise,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    random_cam,
    xgrad_cam,
)
from jaxlens.attribution.cam._scores import ablation_cam, score_cam
from jaxlens.model import Model

GRADIENT = [grad_cam, grad_cam_plus_plus, xgrad_cam, hires_cam, grad_cam_elementwise, layer_cam, eigen_grad_cam]
ALL = [*GRADIENT, eigen_cam, score_cam, ablation_cam, random_cam]
SIZE = (8, 12)


@functools.cache
def pooled(k=6, bias=-0.7):
    """Convolution, ReLU, global average pool, linear: every gradient-based map is the same one."""
    keys = jax.random.split(jax.random.key(1), 2)
    params = {
        "kernel": jax.random.normal(keys[0], (3, 3, 3, k)),
        "u": jax.random.normal(keys[1], (k, 4)) * jnp.asarray([[1, 1, 1, -1.0]]),
    }

    def forward(params, x):
        y = jax.lax.conv_general_dilated(x, params["kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        y = site("features", jax.nn.relu)(y)
        return y.mean((1, 2)) @ params["u"] + bias

    return Model.from_function(forward, params, preprocess=lambda x: x, input_size=SIZE), params["u"], bias
