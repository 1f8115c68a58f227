"""What `tests.bad_values` calls with: façades, good arguments by their names, bad values, and what is done with results."""

import dataclasses
import inspect
import os
import shutil
import tempfile
from pathlib import Path

import equinox
import haiku
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from flax import linen, nnx
from PIL import Image

import jaxlens
from jaxlens import attribution, modelzoo, training
from jaxlens.data._imagenette import _FOLDERS as IMAGENETTE
from jaxlens.microscope._tile import Tile, write_tile
from jaxlens.model import Preprocess
from jaxlens.optvis import objectives, param, render, transform

FACADES = tuple(
    f"jaxlens{name}"
    for name in (
        "",
        ".model",
        ".model.interceptors",
        ".model.rules",
        ".optvis.objectives",
        ".optvis.param",
        ".optvis.param.color",
        ".optvis.transform",
        ".optvis.render",
        ".attribution",
        ".attribution.metrics",
        ".data",
        ".data.synthetic",
        ".modelzoo",
        ".recipes",
        ".plot",
        ".microscope",
    )
)
# Results, roles and protocols: what users get, not what they call.
RECORDS = """
Attribution Curve Randomization RenderResult Progress Layer Site Info Pictures RenderJob Tile History Interceptor Objective
Parameterization Transform GradientRule Loader Model blur_alpha_each_step check_matrix names cache_dir Any Array Float combine
IMAGENET INCEPTION as_batches identity
"""

# Of each value by itself: nothing gives nothing.
ELEMENTWISE = "collapse_channels hue_to_rgb"

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

VALUES = {
    "None": None,
    "''": "",
    "'nonsense'": "nonsense",
    "-1": -1,
    "0": 0,
    "1.5": 1.5,
    "1e9": 1e9,
    "nan": float("nan"),
    "inf": float("inf"),
    "2**70": 2**70,
    "True": True,
    "3j": 3j,
    "b'x'": b"x",
    "object()": object(),
    "a function": lambda *args: args[0],
    "a class": dict,
    "[]": [],
    "{}": {},
    "ragged": [[1], [2, 3]],
    "(1, 2, 3)": (1, 2, 3),
    "[None]": [None],
    "array of nothing": np.zeros((0,), np.float32),
    "array of strings": np.array(["a", "b"]),
    "array of objects": np.array([object(), None], object),
    "six axes": np.zeros((1,) * 6, np.float32),
    "array of NaN": np.full((2,), np.nan, np.float32),
    "date": np.datetime64("2020-01-01"),
}

# Good values by argument, the same for every façade; then those of a façade; then those of a function.
COMMON = {
    "model": MODEL,
    "images": IMAGES,
    "image": IMAGES[0],
    "layer": "conv",
    "layers": ["conv"],
    "objective": "conv:0",
    "progress": False,
    "values": MAPS,
    "method": attribution.saliency,
    "result": RESULT,
    "steps": 1,
    "size": SIZE,
    "samples": 4,
    "label": 1,
    "path": "photo.png",
    "inner": param.image(14, 12),
    "seed": 0,
    "n_channel": 1,
    "t": IMAGES,
    "target": 1,
}
OF_FACADE = {
    "jaxlens.optvis.objectives": {
        "vec": np.ones(4, np.float32),
        "weight": np.ones(4, np.float32),
        "shp": (2, *SIZE, 3),
        "target": np.asarray(ACTIVATIONS["conv"])[0],
        "a": np.asarray(ACTIVATIONS["conv"]),
        "b": np.asarray(ACTIVATIONS["conv"]),
        "orig_img": IMAGES[0],
    },
    "jaxlens.optvis.param": {
        "w": 14,
        "h": 12,
        "batch": 1,
        "shape": (1, *SIZE, 3),
        "raw": IMAGES,
        "x": IMAGES,
        "param": param.cppn(14, 12),
        "radius": 0.1,
        "mask": np.ones(SIZE, np.float32),
        "params": [param.image(init=each) for each in IMAGES],
        "underlying_shape": (1, 4, 7, 3),
        "init": None,
        "n_levels": 2,
    },
    "jaxlens.optvis.param.color": {"rgb": IMAGES},
    "jaxlens.optvis.transform": {
        "height": 6,
        "width": 6,
        "d": 2,
        "w": 2,
        "sigma": 1.0,
        "power": 2.0,
        "sd": 0.1,
        "count": 2,
        "scales": [0.9, 1.1],
        "angles": [-5, 5],
        "brightness": 0.1,
        "low": 0.1,
        "high": 0.5,
        "transforms": [transform.jitter(1)],
        "transform": transform.jitter(1),
        "first": transform.random_boxes(1, 8, (0.4, 0.5)),
        "last": transform.random_boxes(1, 8, (0.1, 0.2)),
    },
    "jaxlens.attribution": {
        "baselines": IMAGES,
        "to": "fc",
        "neuron": (1, 2, 2),
        "cells": 2,
        "permutations": 1,
        "designs": 2,
        "steps": 8,
        "window": 3,
        "stride": 3,
        "spatial": np.ones((1, *SIZE), np.float32),
        "channels": None,
    },
    "jaxlens.attribution.metrics": {
        "boxes": [[[1, 1, 5, 5]], [[1, 1, 5, 5]]],
        "a": MAPS[..., 0],
        "b": MAPS[..., 0][:, ::-1],
        "keep": np.ones((2, *SIZE), bool),
        "sigma": 1.0,
        "grid": 2,
        "fractions": (0.5,),
        "steps": 2,
    },
    "jaxlens.recipes": {
        "layers": "conv",
        "rows": "conv:0",
        "columns": "conv:1",
        "content": IMAGES[0],
        "style": IMAGES[1],
        "content_layers": "conv",
        "style_layers": "conv",
        "first": ("conv", 0),
        "second": ("conv", 1),
        "batch": 2,
        "octaves": 1,
        "frames": 1,
        "crops": 1,
    },
    "jaxlens.plot": {"maps": {"one": MAPS}, "importance": np.ones(SIZE, np.float32), "hue": np.array([0.1, 0.5])},
    "jaxlens.microscope": {"wanted": ["conv"], "channels": [0], "layers": ["conv"]},
    "jaxlens.data": {"size": 8},
}
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
    "folder_name": {"layer": "conv"},
    "render_layers": {"out": "job"},
    "accentuate": {"layer": None, "images": IMAGES[0]},
    "adversarial": {"layer": "logits", "images": IMAGES[0]},
    "class_visualization": {"layer": "logits"},
    "invert": {"images": IMAGES[0]},
    "caricature": {"images": IMAGES[0]},
    "attribution_caricature": {"layers": "relu", "objective": "logits:1", "images": IMAGES[0], "pools": "max"},
}
# Arguments that stay at their defaults unless they are needed.
OPTIONAL = {"layer", "layers", "target", "weight", "batch", "x", "key", "label", "image"}


def good_arguments(facade, function, arguments):
    """Arguments with which a function works: those it needs, and those that make it quick; None if they are not known."""
    own = OF_FUNCTION.get(function.__name__, {})
    known = COMMON | OF_FACADE.get(facade, {}) | own
    parameters, good = inspect.signature(function).parameters, {}
    for argument in arguments:
        needed = parameters[argument].default is inspect.Parameter.empty
        if argument in known and (needed or argument in own or argument not in OPTIONAL):
            good[argument] = known[argument]
        elif needed:
            return None
    return good


class Setting:
    """A folder of its own with the files that the calls read, and no way out of it."""

    def __enter__(self):
        self.before, self.folder = os.getcwd(), tempfile.TemporaryDirectory()
        os.chdir(self.folder.name)
        os.environ["JAXLENS_CACHE"] = str(Path(self.folder.name) / "cache")
        matplotlib.use("Agg")
        Image.fromarray((IMAGES[0] * 255).astype(np.uint8)).save("photo.png")
        for kind in ("train/a", "train/b", "val/a", "val/b"):
            Path("folder", kind).mkdir(parents=True)
            Image.fromarray((IMAGES[0] * 255).astype(np.uint8)).save(f"folder/{kind}/0.png")
        for name in IMAGENETTE:  # as it comes from its server
            shutil.copytree("folder/val/a", f"folder/imagenette2-160/val/{name}")
        write_tile(Path("tiles/conv/0000.png"), Tile("conv", 0, 0.5, 0, "settings", image=(IMAGES[0] * 255).astype(np.uint8)))
        OF_FUNCTION["save"]["model"] = modelzoo.load("lensnet", None)

    def __exit__(self, *_):
        os.chdir(self.before)
        self.folder.cleanup()


def follow_up(result):
    """The leaves of a result; objectives are scored, parameterizations drawn and transforms called first."""
    if isinstance(result, objectives.Objective):
        bound = result.bind(MODEL)
        bound.check(SHAPES, 2)
        leaves = jax.tree.leaves(bound)
        if all(np.ndim(leaf) == 0 for leaf in leaves) and not hasattr(bound, "toward"):
            leaves.append(bound(ACTIVATIONS))
        return leaves
    if isinstance(result, list) and result and isinstance(result[0], objectives.Objective):
        return [leaf for each in result for leaf in follow_up(each)]
    if hasattr(result, "to_image") and not hasattr(result, "count"):
        return [result.to_image(result.init(jax.random.key(0)))]
    if type(result).__module__.startswith("jaxlens.optvis.transform") and callable(result):
        images = jnp.concatenate([IMAGES, IMAGES[..., :1]], -1) if "Alpha" in type(result).__name__ else jnp.asarray(IMAGES)
        return [result(jax.random.key(0), images)]
    return leaves_of(result)


def leaves_of(result):
    """Arrays and numbers in a result, through records and containers."""
    if isinstance(result, jaxlens.Model):  # its weights are the user's
        return []
    if isinstance(result, render.RenderResult):  # no steps, no scores
        return [result.images]
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return [leaf for f in dataclasses.fields(result) for leaf in leaves_of(getattr(result, f.name))]
    if isinstance(result, dict):
        return [leaf for value in result.values() for leaf in leaves_of(value)]
    if isinstance(result, list | tuple):
        return [leaf for value in result for leaf in leaves_of(value)]
    return [result]
