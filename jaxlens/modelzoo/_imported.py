"""Imported networks in one safetensors file: weights as tensors, the graph as text beside them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlens.errors import WeightsError
from jaxlens.graph import Graph, GraphForward
from jaxlens.graph.ops import OPS
from jaxlens.model import Model, Preprocess
from jaxlens.modelzoo import _params


def metadata(model: Model) -> dict[str, str]:
    """What a file says of an imported model besides its weights; nothing for other models."""
    if not isinstance(model.forward, GraphForward):
        return {}
    if not isinstance(model.preprocess, Preprocess):
        raise ValueError(
            f"preprocess={model.preprocess!r} of {model.name} is code, which no file can hold: use jaxlens.model.Preprocess."
        )
    about = {
        "output": model.forward.output,
        "scale": model.preprocess.scale,
        "offset": model.preprocess.offset,
        "input_size": model.input_size,
        "channels": model.channels,
        "labels": model.labels,
    }
    return {"graph": model.forward.graph.to_json(), "about": json.dumps(about)}


def model(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Model:
    """The model of a file that nobody vouches for: the graph can call the operators of jaxlens and nothing else.

    Raises:
        WeightsError: if the graph is damaged, or does not run with these weights.
    """
    name = metadata.get("model", "model")
    graph = Graph.from_json(metadata["graph"])
    if missing := sorted({op.op for _, op in graph.walk()} - OPS.keys()):
        raise WeightsError(f"{path} needs operators that this jaxlens does not have: {', '.join(missing)}.")
    try:
        about = json.loads(metadata["about"])
        options: dict[str, Any] = {
            "forward": GraphForward(graph, tuple(about["output"])),
            "preprocess": Preprocess(*(tuple(map(float, about[key])) for key in ("scale", "offset"))),
            "input_size": tuple(map(int, about["input_size"])),
            "channels": int(about["channels"]),
            "labels": None if about["labels"] is None else tuple(map(str, about["labels"])),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} is damaged: what it says of the model cannot be read ({error}).") from error
    expected = {name: arrays[name].shape if name in arrays else () for name in graph.parameters()}
    _params.account(expected, {key: tuple(array.shape) for key, array in arrays.items()}, name, str(path))
    loaded = Model(params={key: jax.device_put(array) for key, array in arrays.items()}, name=name, **options)
    if len(graph.inputs) == 1:
        _try(loaded, path)
    return loaded


def _try(model: Model, path: Path) -> None:
    """Runs the graph on shapes alone."""
    image = jax.ShapeDtypeStruct((2, *model.input_size, model.channels), np.float32)
    try:
        jax.eval_shape(model.forward, model.params, image)
    except Exception as error:  # whatever an operator makes of what a stranger wrote
        reason = str(error).split("\n")[0]
        raise WeightsError(f"{path} is damaged: its graph does not run with its weights ({reason}).") from error
