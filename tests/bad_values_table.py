"""What `tests.bad_values` calls with: façades, good arguments by their names, bad values, and what
is done with results.
"""

import dataclasses
import inspect
import os
import shutil
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from PIL import Image

import jaxlens
from jaxlens import attribution, modelzoo
from jaxlens.data._imagenette import _FOLDERS as IMAGENETTE
from jaxlens.microscope._tile import Tile, write_tile
from jaxlens.optvis import objectives, param, render, transform
from tests.bad_values_arguments import ACTIVATIONS, IMAGES, MAPS, MODEL, OF_FUNCTION, RESULT, SHAPES, SIZE

FACADES = tuple(
    f"jaxlens{name}"
    for name in (
        "",
        ".Model",
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
Attribution Curve Randomization RenderResult RenderOptions Progress Task Layer Site Info Pictures
RenderJob Tile History Interceptor Objective Parameterization Transform GradientRule Loader Model
blur_alpha_each_step check_matrix names cache_dir Any Array Float combine IMAGENET INCEPTION
as_batches identity
"""

# Of each value by itself: nothing gives nothing.
ELEMENTWISE = "collapse_channels hue_to_rgb"


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


# Good values by argument, the same for every façade; then those of a façade; those of a function
# are in `OF_FUNCTION`.


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


# Arguments that stay at their defaults unless they are needed.
OPTIONAL = {"layer", "layers", "target", "weight", "batch", "x", "key", "label", "image"}


def good_arguments(facade, function, arguments):
    """Arguments with which a function works: those it needs, and those that make it quick; None if
    they are not known.
    """
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
    """The leaves of a result; objectives are scored, parameterizations drawn and transforms called
    first.
    """
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
