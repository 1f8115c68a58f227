"""Imported networks in one safetensors file: weights as tensors, the graph as text beside them."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlens import _params
from jaxlens._checks import one_line
from jaxlens.errors import WeightsError
from jaxlens.graph import Graph, GraphForward
from jaxlens.graph._ir import Op
from jaxlens.graph._run import Frame
from jaxlens.graph._tensor import Tensor
from jaxlens.graph.ops import OPS, _elementwise
from jaxlens.model import Model, Preprocess

# Limits that no network comes near. They keep a few bytes of graph from asking for all memory or
# all time: elements of a tensor, parts of a value, sides of an image, and steps that one operator
# takes during tracing.
_ELEMENTS, _PARTS, _SIDE, _STEPS = 1 << 28, 1024, 1 << 16, 1 << 14
_NODES = 6000  # operators of a graph; a trial run takes about 2 ms for each


def metadata(model: Model) -> dict[str, str]:
    """Return what a file says of an imported model besides its weights; else nothing."""
    if not isinstance(model.forward, GraphForward):
        return {}
    graph = model.forward.graph.to_json()
    try:
        if (count := sum(1 for _ in model.forward.graph.walk())) > _NODES:
            raise ValueError(f"a graph of {count:,} operators")
        Graph.from_json(graph)
        if len(model.forward.graph.inputs) == 1:
            _run(model, model.forward)
    except Exception as error:
        reason = one_line(str(error).partition("\n")[0])
        raise ValueError(f"{model.name} is beyond what modelzoo.load accepts from a file ({reason}).") from error
    about = {"output": model.forward.output, **described(model)}
    return {"graph": graph, "about": json.dumps(about)}


def described(model: Model) -> dict[str, Any]:
    """Return the fields of a model besides its network and weights, as JSON values.

    `description` reads them.
    """
    if not isinstance(model.preprocess, Preprocess):
        raise ValueError(
            f"preprocess={model.preprocess!r} of {model.name} is code, which no file can hold: use jaxlens.model.Preprocess."
        )
    return {
        "scale": model.preprocess.scale,
        "offset": model.preprocess.offset,
        "input_size": model.input_size,
        "channels": model.channels,
        "labels": model.labels,
    }


def model(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Model:
    """Build the model of an untrusted file.

    The graph can call the operators of jaxlens and nothing else.

    Raises:
        WeightsError: if the graph is damaged, or does not run with these weights.
    """
    name = metadata.get("model", "model")
    try:
        graph = Graph.from_json(metadata["graph"])
    except WeightsError as error:
        raise WeightsError(f"{path}: {one_line(error)}") from error
    if missing := sorted({op.op for _, op in graph.walk()} - OPS.keys()):
        raise WeightsError(f"{path} needs operators that this jaxlens does not have: {one_line(', '.join(missing))}.")
    if (count := sum(1 for _ in graph.walk())) > _NODES:
        raise WeightsError(f"{path} has a graph of {count:,} operators; up to {_NODES:,} are read.")
    if not graph.inputs:
        raise WeightsError(f"{path} is damaged: its graph has no inputs.")
    try:
        options = _options(graph, json.loads(metadata["about"]))
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise WeightsError(f"{path} is damaged: what it says of the model cannot be read ({one_line(error)}).") from error
    expected = {name: arrays[name].shape if name in arrays else () for name in graph.parameters()}
    _params.account(expected, {key: tuple(array.shape) for key, array in arrays.items()}, name, str(path))
    _params.warn_of_non_finite(arrays, str(path), infinite=False)
    for key, order in graph.orders:
        if key not in arrays or len(order) != arrays[key].ndim:
            raise WeightsError(f"{path} is damaged: its graph gives {one_line(repr(key), 100)} an order of {len(order)} axes.")
    _params.warn_of_non_finite(arrays, str(path), infinite=False)  # masks hold infinities
    loaded = Model(params={key: jax.device_put(array) for key, array in arrays.items()}, name=name, **options)
    if len(graph.inputs) == 1:
        _try(loaded, options["forward"], path)
    return loaded


def _options(graph: Graph, about: Any) -> dict[str, Any]:
    """Return the fields of a Model besides its weights and name."""
    output = tuple(about["output"])
    if not all(isinstance(key, str | int) for key in output):
        raise TypeError(f"output={output}")
    return {"forward": GraphForward(graph, output), **description(about)}


def description(about: Any) -> dict[str, Any]:
    """Return what `described` wrote, as fields of a Model.

    Raises:
        ValueError, TypeError, KeyError: if it is damaged.
    """
    scale, offset, size = (tuple(about[key]) for key in ("scale", "offset", "input_size"))
    channels, labels = about["channels"], about["labels"]
    if not all(type(n) is int and 0 < n <= _SIDE for n in (*size, channels)):
        raise ValueError(f"images of size {size} with {channels} channels")
    if not all(type(x) in (int, float) and math.isfinite(x) for x in (*scale, *offset)):
        raise ValueError(f"the scale {scale} and offset {offset} of images")
    if not {len(scale), len(offset)} <= {1, channels}:
        raise ValueError(f"the scale {scale} and offset {offset} of {channels} channels")
    if labels is not None and not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise TypeError("labels that are no list of names")
    return {
        "preprocess": Preprocess(tuple(map(float, scale)), tuple(map(float, offset))),
        "input_size": size,
        "channels": channels,
        "labels": None if labels is None else tuple(labels),
    }


def _try(model: Model, forward: GraphForward, path: Path) -> None:
    try:
        _run(model, forward)
    except Exception as error:  # an operator may fail in any way on untrusted arguments
        reason = one_line(str(error).partition("\n")[0] or type(error).__name__)
        raise WeightsError(f"{path} is damaged: its graph does not run with its weights ({reason}).") from error


def _run(model: Model, forward: GraphForward) -> None:
    """Run the graph on shapes alone, within bounds."""
    image = jax.ShapeDtypeStruct((2, *model.input_size, model.channels), np.float32)
    trial = _Trial(forward.graph, forward.output)
    with np.errstate(divide="raise", invalid="raise"):  # such as a stride of 0
        jax.eval_shape(lambda params, image: trial(params, image), model.params, image)  # `trial` itself equals `forward`


class _Bounded(Frame):
    """The values of a run, which fails where one of them exceeds the limits."""

    def value(self, tree: Any) -> Any:
        """Return a value; all arguments and results come through here."""
        value = super().value(tree)
        for number, part in enumerate(_parts(value), 1):
            if number > _PARTS:
                raise ValueError(f"a value of more than {_PARTS} parts")
            if isinstance(part, int) and abs(part) >= 1 << 63:
                raise ValueError("a number of more than 64 bits")
            # An empty tensor holds nothing of the image. Networks only use `torch.empty(0)`, as a
            # start to append to.
            if isinstance(part, Tensor) and not (part.shape == (0,) or (0 < part.data.size <= _ELEMENTS and part.ndim <= 64)):
                raise ValueError(f"a tensor of {part.ndim} axes and {part.data.size} elements")
        return value

    def operator(self, node: Op, path: str, kind: str) -> Any:
        args, kwargs = tuple(map(self.value, node.args)), {key: self.value(value) for key, value in node.kwargs}
        if (steps := _steps(node.op, args, kwargs)) > _STEPS:
            raise ValueError(f"{node.op!r} would take {steps} steps")
        _require_numbers(node.op, args, kwargs)
        return super().operator(node, path, kind)


class _Trial(GraphForward):
    """A trial run of an untrusted graph."""

    frame = _Bounded


def _parts(tree: Any) -> Iterator[Any]:
    """Yield the parts of nested tuples, dicts and slices.

    Each container counts as a part too, so that the walk of many empty ones reaches the limit.
    """
    yield tree
    if isinstance(tree, slice):
        tree = (tree.start, tree.stop, tree.step)
    for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple) else ():
        yield from _parts(part)


def _steps(op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """Return roughly how many steps the tracing of an operator takes, where arguments decide it."""
    values = [*args, *(value for key, value in kwargs.items() if key != "value")]
    numbers = [[abs(n) for n in _parts(value) if type(n) is int] for value in values]
    if "interpolate" in op or "upsample" in op:  # factors are numbers of any kind
        space = max(args[0].shape[2:], default=1) if isinstance(args[0], Tensor) else 1
        factors = [abs(n) for value in values for n in _parts(value) if type(n) in (int, float)]
        if not all(n * space <= _STEPS for n in factors if type(n) is float):  # NaN and infinity too
            raise ValueError(f"{op!r} by a factor of {max(factors)}")
    if any(word in op for word in ("pool", "unfold", "im2col")):  # one step for each pixel of a window
        axes = next((n for n in (1, 2, 3) if f"{n}d" in op), 2)  # one number means all sides
        return max(math.prod(max(n, 1) for n in each) ** (axes if len(each) == 1 else 1) for each in numbers)
    sides = "attention", "chunk", "interpolate", "pad", "response", "tensor_split", "upsample"
    if any(word in op for word in sides):  # one step for each pixel of a side, token or piece
        tokens = [n for x in values if isinstance(x, Tensor) and "attention" in op for n in x.shape]
        return max(n for each in (*numbers, tokens) for n in (*each, 0))
    if op == "unbind" or "split" in op:
        size, *dims = args[1:] if "split" in op else (1, *args[1:])
        dim = kwargs.get("dim", dims[0] if dims else 0)
        return args[0].shape[dim] // max(size, 1) if isinstance(size, int) else 0
    return 0


def _require_numbers(op: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse Python's own arithmetic with texts and lists, and powers of unbounded length.

    `"a" * 10**9`, `"%1000000000d" % 1` and `9**9**9` would take all memory or time.
    """
    if getattr(OPS[op], "__module__", "") != _elementwise.__name__ and not op.startswith(("addm", "addb", "baddb")):
        return
    values = [*args, *(value for key, value in kwargs.items() if key not in ("approximate", "rounding_mode"))]
    times = math.prod(max(abs(x), 1) for x in values if type(x) is int)
    if isinstance(values[0], str) or any(times * len(x) > _PARTS for x in values if isinstance(x, str | tuple)):
        raise TypeError(f"{op!r} of numbers and others")  # but networks use `(1,) * x.ndim`
    if op == "pow" and all(type(x) is int for x in values) and max(map(abs, values), default=0) > 64:
        raise ValueError(f"the power {values}")
