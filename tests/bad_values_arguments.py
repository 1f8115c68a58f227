"""A tiny network, its pictures and results, and the good arguments of single functions that
`tests.bad_values` calls with.
"""

import equinox
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx

import jaxlens
from jaxlens import attribution, training
from jaxlens.model import Preprocess
from jaxlens.optvis import objectives, param, render

SIZE = (12, 14)


def _forward(params, x):
    y = jaxlens.site("conv", lambda x: jax.lax.conv_general_dilated(x, params["conv"], (1, 1), "SAME", dimension_numbers=DIMS))(
        x
    )
    y = jaxlens.site("relu", jax.nn.relu, kind="relu")(y)
    return jaxlens.site("fc", lambda z: z @ params["fc"])(y.mean((1, 2)))


DIMS = ("NHWC", "HWIO", "NHWC")
_keys = jax.random.split(jax.random.key(0))
WEIGHTS = {"conv": jax.random.normal(_keys[0], (3, 3, 3, 4)), "fc": jax.random.normal(_keys[1], (4, 5))}
MODEL = jaxlens.Model.from_function(
    _forward, WEIGHTS, preprocess=Preprocess(), input_size=SIZE, labels=tuple("abcde"), name="tiny"
)
IMAGES = np.random.default_rng(0).random((2, *SIZE, 3), dtype=np.float32)
MAPS = np.random.default_rng(1).normal(size=(2, *SIZE, 1)).astype(np.float32)
ACTIVATIONS = dict(jaxlens.activations(MODEL, IMAGES, ["conv", "relu", "fc", "logits"]))
ACTIVATIONS |= {"input": jnp.asarray(IMAGES), "step": jnp.float32(0), "memory": {}}
SHAPES = {name: tuple(value.shape[1:]) for name, value in ACTIVATIONS.items() if getattr(value, "ndim", 0) > 1}


def _attend(params, x):
    tokens = x.reshape(x.shape[0], -1, 3)[:, ::4]
    weights = jaxlens.site("attention_weights", jax.nn.softmax)(jnp.einsum("btc,bsc->bts", tokens, tokens)[:, None])
    return jnp.einsum("bhts,bsc->btc", weights, tokens).mean(1) @ params


ATTENTIVE = jaxlens.Model.from_function(_attend, jnp.ones((3, 5)), preprocess=Preprocess(), input_size=SIZE, name="attentive")
HAIKU = haiku.transform(lambda x: haiku.Conv2D(4, 3)(x))
LINEN = linen.Conv(4, (3, 3))
OPTIMIZER = optax.adam(0.05)
RESULT = render.render(MODEL, ["conv:0", "conv:1"], size=SIZE, steps=1, thresholds=(1,), progress=False, redirect_steps=0)


OF_FUNCTION = {
    "from_nnx": {"module": nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0)), "method": None},
    "from_linen": {"module": LINEN, "variables": LINEN.init(jax.random.key(0), IMAGES), "method": None},
    "from_equinox": {"module": equinox.nn.Conv2d(3, 4, 3, key=jax.random.key(0))},
    "from_haiku": {"transformed": HAIKU, "params": HAIKU.init(jax.random.key(0), IMAGES)},
    "site": {"name": "a", "fn": jnp.sin},
    "from_function": {"fn": _forward, "params": WEIGHTS},
    "from_models": {"models": {"a": MODEL, "b": MODEL}},
    "ablate": {"channels": [0]},
    "replace": {"value": np.asarray(ACTIVATIONS["conv"])},
    "perturb": {"delta": np.asarray(ACTIVATIONS["conv"])},
    "plain_gradient": {"fn": jnp.sin},
    "as_objective": {"value": "conv:0"},
    "attribution_compare": {"toward": "logits:1"},
    "channel_interpolate": {"layer1": "conv", "n_channel1": 0, "layer2": "conv", "n_channel2": 1},
    "spatial_channel": {"target_map": np.ones((*SIZE, 4), np.float32)},
    "tensor_direction": {"vec": np.ones((*SIZE, 4), np.float32)},
    "angled_neuron_direction": {"S": np.eye(4, dtype=np.float32)},
    "style_ema": {"difference_to": {"conv": np.asarray(ACTIVATIONS["conv"])[0]}},
    "activation_difference": {"difference_to": 1},
    "style": {"difference_to": 1},
    "stack": {"objectives": [objectives.channel("conv", 0), objectives.channel("conv", 1)]},
    "lucent": {"function": lambda model: -model("conv")[:, 1].mean()},
    "wrap_objective": {"function": lambda layer: lambda T: T(layer).mean()},
    "decay": {"steps": 10},
    "only_after": {"step": 1},
    "from_functions": {"init": lambda key: jax.random.normal(key, (1, 4, 4, 3)), "to_image": jax.nn.sigmoid},
    "generator": {"forward": lambda p, z: jnp.tanh(z.reshape(1, 1, 2, 3)), "params": {}, "latent": 6},
    "grayscale": {"inner": param.image(14, 12, channels=1)},
    "beside": {"images": IMAGES[0]},
    "ball": {"images": IMAGES[0]},
    "masked": {"images": IMAGES[0]},
    "starting_at": {"images": IMAGES[0], "steps": 2},
    "fft_image": {},
    "identity": {"key": jax.random.key(0)},
    "preset": {"name": "lucid", "size": 16},
    "random_boxes": {"size": 8},
    "default_batch_size": {"devices": jax.local_devices()},
    "evaluate": {"images": IMAGES[None]},
    "render_vis": {
        "objective_f": "conv:0",
        "param_f": lambda: param.image(14, 12),
        "thresholds": (1,),
        "show_image": False,
        "optimizer": OPTIMIZER,
    },
    "render": {"optimizer": OPTIMIZER, "redirect_steps": 0},
    "grid_features": {"size": SIZE, "cells": 2},
    "resize": {"size": (4, 4), "method": "bilinear"},
    "integrated_gradients": {"tolerance": None},
    "group_attribution": {"spatial": np.ones((2, *SIZE, 1), np.float32), "channels": np.ones((1, 4), np.float32)},
    "spatial_to_spatial": {"to": "relu"},
    "attention_maps": {"model": ATTENTIVE},
    "attention_rollout": {"model": ATTENTIVE},
    "gradient_rollout": {"model": ATTENTIVE},
    "transformer_attribution": {"model": ATTENTIVE},
    "lime": {"features": attribution.grid_features(SIZE, 2)},
    "kernel_shap": {"samples": 8, "features": attribution.grid_features(SIZE, 2)},
    "shapley_sampling": {"features": attribution.grid_features(SIZE, 2)},
    "shapley_values": {"features": attribution.grid_features(SIZE, 2)},
    "feature_ablation": {"features": attribution.grid_features(SIZE, 2)},
    "feature_permutation": {"features": attribution.grid_features(SIZE, 2)},
    "save_image": {"path": "saved.png"},
    "save_animation": {"path": "saved.gif", "frames": IMAGES, "fps": 5},
    "load_image": {"size": None},
    "load_folder": {"path": "folder", "size": 8, "batch_size": 1, "threads": 1},
    "load_imagenette": {"split": "val", "size": 8, "folder": "folder", "batch_size": 1},
    "generate": {"labels": [0, 1], "size": 16},
    "stimuli": {"family": "bar", "size": 16},
    "architecture": {"name": "lensnet"},
    "info": {"name": "lensnet"},
    "weights": {"name": "lensnet"},
    "load": {"name": "lensnet", "weights": None},
    "save": {"model": None, "path": "saved.safetensors"},
    "simple_cnn": {"num_classes": 3},
    "diversity": {},
    "attributions": {"images": IMAGES},
    "attribution_map": {"values": MAPS[0], "image": IMAGES[0]},
    "collapse_channels": {"activations": np.asarray(ACTIVATIONS["conv"])[0]},
    "comparison": {"rows": [RESULT, RESULT]},
    "contact_sheet": {"images": IMAGES},
    "interaction_grid": {"rows": ["a"], "columns": ["b", "c"]},
    "training_curves": {"history": training.History([1.0], [0.1], [1.0], [0.1], [1.0])},
    "read_tile": {"path": "tiles/conv/0000.png"},
    "find_layers": {"wanted": ["conv"]},
    "folder_name": {"name": "conv"},
    "render_layers": {"out": "job"},
    "accentuate": {"layer": None, "images": IMAGES[0]},
    "adversarial": {"layer": "logits", "images": IMAGES[0]},
    "class_visualization": {"layer": "logits"},
    "invert": {"images": IMAGES[0]},
    "caricature": {"images": IMAGES[0]},
    "attribution_caricature": {"layers": "relu", "objective": "logits:1", "images": IMAGES[0], "pools": "max"},
}
