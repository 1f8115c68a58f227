"""Any PyTorch module as a Model: `from_torch`."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from converters._compare import TOLERANCE, compare
from jaxlens.errors import ConversionError
from jaxlens.graph import Graph, GraphForward
from jaxlens.graph.ops import OPS
from jaxlens.model import IMAGENET, Model, Preprocess


def from_torch(
    module: Any,
    input_size: tuple[int, int] = (224, 224),
    *,
    example: Any = None,
    output: str | int | tuple[str | int, ...] = (),
    preprocess: Callable[[jax.Array], jax.Array] | None = None,
    labels: Sequence[str] | None = None,
    name: str | None = None,
    check: bool = True,
) -> Model:
    """A `Model` of any PyTorch module: its weights, its operators and its layer names, with no torch at run time.

    The module is traced in evaluation mode (dropout and stochastic depth vanish, batch norms use their running statistics)
    and left as it was. Every module in it that runs is a layer under its PyTorch path, containers too; functional ReLUs are
    ReLUs for the gradient rules. Maps are channels last on the surface; parameters are float32, kernels laid out as Flax does.
    `modelzoo.save(model, "net.safetensors")` writes weights and graph to one file, which `modelzoo.load` reads without torch.

    `torch.fx` traces it if it can; the result then takes images of any size that the module takes. Code that looks at
    sizes, or writes through views, is traced by `torch.export`; the result then takes images of `input_size` only.

    Args:
        module: a `torch.nn.Module` that takes images `[B, C, H, W]`, or what `example` holds.
        input_size: height and width of the images it was trained on.
        example: what to call it with, instead of random images of 3 channels: a tensor or a tuple of them, with a batch axis
            of 2 or more; for instance latents for a generator. `model.forward(model.params, *inputs)` then takes such inputs,
            maps channels last.
        output: which part of a dict or tuple that it returns are the logits: a key, a number, or a tuple of these. If there
            are several tensors and nothing is said it is the first. The others are layers `output[...]`.
        preprocess: from images in [0, 1] to what the module eats; by default the mean and std in timm's `pretrained_cfg`
            if the module has one, else ImageNet's.
        labels: one name per output.
        name: how errors call it; by default the class.
        check: run both on random inputs and compare every layer, in a batch of two and alone. Costs two passes of each.

    Returns: a Model. The graph is in `model.forward.graph`.

    Raises:
        ConversionError: for an operator that jaxlens does not have (with the module it is in and how to add it), a module that
            neither way can trace, or, with `check`, a layer whose values differ by more than 1e-4 of its largest.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module={type(module).__name__} must be a torch.nn.Module.")
    name = name or type(module).__name__
    inputs = _inputs(example, input_size)
    images = example is None or (len(inputs) == 1 and inputs[0].ndim == 4)
    if images:
        input_size = (int(inputs[0].shape[2]), int(inputs[0].shape[3]))
    options = {
        "preprocess": (preprocess or _preprocess(module)) if images else Preprocess(),
        "input_size": input_size if images else tuple(inputs[0].shape[1:-1]),
        "labels": None if labels is None else tuple(labels),
        "channels": int(inputs[0].shape[1] if images else inputs[0].shape[-1]),
        "name": name,
    }
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about tracing
            _try(module, inputs, name)
            return _convert(module, inputs, output if isinstance(output, tuple) else (output,), options, check)
    finally:
        for child, mode in modes.items():
            child.training = mode


def _convert(
    module: Any, inputs: tuple[Any, ...], output: tuple[str | int, ...], options: dict[str, Any], check: bool
) -> Model:
    """By torch.fx, or else by torch.export; the first that gives the module's own values."""
    from converters import _export, _fx

    name, reasons = options["name"], []
    for trace in (lambda: _fx.trace(module, len(inputs), name), lambda: _export.trace(module, inputs, name)):
        try:
            graph, arrays = trace()
            model = _model(graph, arrays, inputs, output, options)
            if check:
                _check(module, model, inputs)
            return model
        except (_fx.Untraceable, ConversionError) as reason:
            reasons.append(reason)
            if _fx.recurrent(module):  # torch.export would unroll it, step by step
                raise ConversionError(str(reason)) from reason
    # an operator that is missing says more than a way that is closed
    reasons.sort(key=lambda reason: not isinstance(reason, _UnsupportedOperatorError))
    raise ConversionError(f"{reasons[0]}\n(The other way: {str(reasons[1]).splitlines()[0]})") from reasons[0]


class _UnsupportedOperatorError(ConversionError):
    pass


def _try(module: Any, inputs: tuple[Any, ...], name: str) -> None:
    import torch

    try:
        with torch.no_grad():
            module(*inputs)
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"{name} does not run in PyTorch on inputs of shape {shapes} ({type(error).__name__}: {reason}). "
            "Give input_size=(height, width), or example= with inputs that it takes."
        ) from error


def _model(
    graph: Graph,
    arrays: dict[str, np.ndarray],
    inputs: tuple[Any, ...],
    output: tuple[str | int, ...],
    options: dict[str, Any],
) -> Model:
    missing = dict.fromkeys((op.op, path) for path, op in graph.walk() if op.op not in OPS)
    if missing:
        places = "".join(f"\n  {op!r} in {_place(path)}" for op, path in list(missing)[:10])
        more = f"\n  and {len(missing) - 10} more" if len(missing) > 10 else ""
        recurrent = {"LSTM", "GRU", "RNN", "lstm", "gru", "rnn_tanh"} & {op for op, _ in missing}
        advice = "Recurrent layers are out of scope: convert the part before them. " if recurrent else ""
        raise _UnsupportedOperatorError(
            f"{options['name']} uses operators that jaxlens does not have:{places}{more}\n{advice}"
            f"To add one, write a function of that name in jaxlens/graph/ops (see CONTRIBUTING, 'Add an operator'), or for now "
            f"jaxlens.graph.ops.OPS[{next(iter(missing))[0]!r}] = function."
        )
    forward = GraphForward(graph, output)
    params = {key: jnp.asarray(array) for key, array in arrays.items()}
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in map(_ours, inputs)]
    try:
        parts = forward.parts(params, *shapes)
        if not output and () not in parts and parts:
            forward = GraphForward(graph, next(iter(parts)))
        jax.eval_shape(forward, params, *shapes)
    except Exception as error:  # an operator's own, of any kind
        where = "; ".join(note for note in getattr(error, "__notes__", ()) if note.startswith("in operator"))
        reason = str(error).split("\n")[0]
        raise _UnsupportedOperatorError(
            f"{options['name']}: {where or 'the graph'}: {reason} ({type(error).__name__})."
        ) from error
    return Model(params=params, forward=forward, **options)


def _check(module: Any, model: Model, inputs: tuple[Any, ...]) -> None:
    """Every layer in a batch, and again for the first example alone."""
    for count in (None, 1):
        rows = compare(module, model.forward, model.params, *(_ours(x)[:count] for x in inputs))
        wrong = [row for row in rows if not row.error <= TOLERANCE]
        if wrong:
            worst = wrong[0]
            missing = "is missing" if worst.kind == "missing" else f"differs by {worst.error:.1e} of its largest value"
            raise ConversionError(
                f"{model.name}: layer {worst.name!r} ({worst.kind}, of {count or 'several'} examples) {missing}; "
                f"{len(wrong)} of {len(rows)} layers are wrong. This is an error of the import, please report it."
            )


def _inputs(example: Any, input_size: tuple[int, int]) -> tuple[Any, ...]:
    import torch

    if example is None:
        height, width = input_size
        return (torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 4 - 2,)
    inputs = tuple(example) if isinstance(example, tuple | list) else (example,)
    for x in inputs:
        if not isinstance(x, torch.Tensor) or not x.ndim or x.shape[0] < 2:
            kind = f"shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
            raise TypeError(f"example={kind} must be a tensor with a batch axis of 2 or more, or a tuple of such.")
    return inputs


def _ours(x: Any) -> np.ndarray:
    """An input as we take it."""
    from converters._build import as_numpy

    array = as_numpy(x)
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def _preprocess(module: Any) -> Preprocess:
    config = getattr(module, "pretrained_cfg", None) or {}
    if isinstance(config, dict) and {"mean", "std"} <= config.keys():
        return Preprocess.mean_std(tuple(config["mean"]), tuple(config["std"]))
    return IMAGENET


def _place(path: str) -> str:
    return f"module {path!r}" if path else "the network itself"
