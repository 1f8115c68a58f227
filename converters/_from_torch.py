"""Import any PyTorch module as a Model: `from_torch`."""

import contextlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens import _params
from jaxlens.errors import ConversionError, NonFiniteWarning
from jaxlens.graph import Graph, GraphForward
from jaxlens.graph.ops import OPS
from jaxlens.model import Model, Preprocess


def from_torch(
    module: Any,
    input_size: tuple[int, int] | None = None,
    *,
    example: Any = None,
    output: str | int | tuple[str | int, ...] = (),
    preprocess: Callable[[jax.Array], jax.Array] | None = None,
    labels: Sequence[str] | None = None,
    name: str | None = None,
    check: bool = True,
) -> Model:
    """Import any PyTorch module as a `Model`: its weights, operators and layer names.

    The Model runs without torch. `modelzoo.save(model, "net.safetensors")` writes weights and graph
    to one file, which `modelzoo.load` reads without torch.

    The module is traced in evaluation mode (dropout and stochastic depth vanish, batch norms use
    their running statistics) and left as it was. Every module in it that runs, containers included,
    is a layer under its PyTorch path. Functional ReLUs are ReLUs for the gradient rules. Layers
    show maps channels last; kernels have Flax's layout. All floats are float32: other precisions,
    mixtures of them and autocast are widened. Wrappers (`DataParallel`, `torch.compile`, exported
    programs) are removed.

    `torch.fx` traces the module if it can; the Model then takes images of all sizes that the module
    takes. `torch.export` traces code that looks at sizes or writes through views; the Model then
    takes images of `input_size` only.

    Gradients are those of the computation; `torch.no_grad` and `detach` are followed. Where code
    sets other gradients (`autograd.Function`, hooks on gradients), the import compares its own with
    PyTorch's and fails if they differ.

    Args:
        module: a `torch.nn.Module` that takes images `[B, C, H, W]`, or the inputs in `example`.
        input_size: height and width of the images that it was trained on. Default: timm's, if the
            module has them, else 224.
        example: inputs for the trial runs, in place of random images: a tensor or a tuple of
            tensors, with a batch axis of 2 or more; for instance the latents of a generator. Images
            of uint8 mean that the module takes bytes. A Model with several inputs only runs as
            `model.forward(model.params, *inputs)`, maps channels last.
        output: where the logits are in the dict or tuple that the module returns: a key, an index,
            or a tuple of these. Default: the first tensor. The others are layers `output[...]`.
        preprocess: from images in [0, 1] to the module's inputs. Default: a factor of 255 for a
            module that divides by it; else the mean and std in timm's `pretrained_cfg`, if the
            module has one; else ImageNet's (averaged for one channel, none for other numbers of
            channels than 1 and 3).
        labels: one name per output.
        name: how errors call the module. Default: its class.
        check: whether to run both on random inputs and compare every layer, in a batch of two and
            alone, and the gradient at the input.

    Returns: a Model; its graph is `model.forward.graph`.

    Raises:
        ConversionError: for an operator that jaxlens does not have (the message says in which
            module, and how to add it) or a module that cannot be traced in either way. With
            `check`, also for a layer whose values differ by more than 1e-4 of its largest, or a
            gradient that differs by more than 1e-2 of its length.
        ValueError, TypeError: for arguments that do not fit the module.

    Warns:
        AssumedWarning: about sizes, preprocessing and outputs that are neither given nor known.
        NonFiniteWarning: about weights that are NaN or infinite, and about a network that returned
            NaN for all inputs of the trial runs.

    Example:
        >>> import torch
        >>> from jaxlens import converters
        >>> from jaxlens.model import IMAGENET
        >>> layers = torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU(), torch.nn.Flatten()
        >>> model = converters.from_torch(
        ...     torch.nn.Sequential(*layers), input_size=(24, 32), preprocess=IMAGENET
        ... )
        >>> {name: layer.shape for name, layer in model.layers.items()}
        {'input': (24, 32, 3), '0': (20, 28, 4), '1': (20, 28, 4), '2': (2240,), 'logits': (2240,)}
    """
    from . import _inputs, _module

    module = _module.unwrapped(module)
    name = name or type(module).__name__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about tracing
        with _module.prepared(module) as widen:
            found = _Import(module, name, widen, output if isinstance(output, tuple) else (output,), check)
            known = found.try_inputs(example, input_size)
            graph, arrays, forward = found.traced()
    given, assumed = found.inputs, []
    images = example is None or (len(given) == 1 and given[0].ndim == 4)
    size = tuple(given[0].shape[2:]) if images else tuple(given[0].shape[1:-1])
    channels = int(given[0].shape[1] if images else given[0].shape[-1])
    if not known:
        assumed.append(f"input_size={size} (give input_size=, or example=)")
    if not images:
        preprocess = preprocess or Preprocess()
    elif preprocess is None:
        preprocess, what = _inputs.preprocessing(module, given[0], graph)
        assumed += (
            [f"{what} (give preprocess=, for instance jaxlens.model.Preprocess() for images as they are)"] if what else []
        )
    else:
        _inputs.checked_preprocess(preprocess, channels, size)
    labels = _inputs.checked_labels(labels, found.outputs, name)
    _inputs.tell(name, assumed + found.assumed, len(given))
    told = _params.warn_of_non_finite(arrays, name, infinite=False)  # masks hold infinities
    if found.scan.nan and not told:
        warnings.warn(
            f"{name} returned NaN in PyTorch for every input that it was tried with, and what is NaN on both sides cannot be "
            "compared. Give example= with inputs for which it is finite.",
            NonFiniteWarning,
            stacklevel=2,
        )
    params = {key: jnp.asarray(array) for key, array in arrays.items()}
    return Model(
        params=params, forward=forward, preprocess=preprocess, input_size=size, labels=labels, channels=channels, name=name
    )


class _UnsupportedOperatorError(ConversionError):
    pass


class _GradientError(ConversionError):
    pass


class _Import:
    """One import: the module, the inputs of its trial runs, and what these found."""

    def __init__(self, module: Any, name: str, widen: bool, output: tuple[str | int, ...], check: bool):
        self.module, self.name, self.widen, self.output, self.check = module, name, widen, output, check
        self.inputs: tuple[Any, ...] = ()
        self.assumed: list[str] = []
        self.outputs = 0

    def try_inputs(self, example: Any, input_size: Any) -> bool:
        """Run the module on trial inputs; return whether the size of its images is known."""
        from . import _gradients, _inputs

        size, known = _inputs.sizes(input_size, self.module)
        tries = [_inputs.examples(example)] if example is not None else [*_inputs.random_images(self.module, size)]
        errors: list[Exception] = []
        ran: list[tuple[Any, Any]] = []
        for inputs in tries:
            try:
                with self.float32():
                    ran.append((inputs, _gradients.scan(self.module, inputs)))
            except Exception as error:  # the module may fail in any way
                errors.append(error)
                continue
            if ran[-1][1].finite:  # NaN in both cannot be compared
                break
        if ran:
            self.inputs, self.scan = next((each for each in ran if each[1].finite), ran[0])
            self.widen = self.widen or self.scan.autocast
            return known or example is not None
        shapes = ", ".join(str(tuple(x.shape)) for x in tries[0])
        reason = str(errors[0]).strip().split("\n")[0]
        several = f" {_inputs.SEVERAL}" if "required positional argument" in reason else ""
        raise ValueError(
            f"{self.name} does not run in PyTorch on inputs of shape {shapes} ({type(errors[0]).__name__}: {reason}). "
            f"Give input_size=(height, width), or example= with inputs that it takes.{several}"
        ) from errors[0]

    def float32(self) -> Any:
        """Return a context in which the module computes in float32, if it does not by itself."""
        from ._module import Float32

        return Float32() if self.widen else contextlib.nullcontext()

    def traced(self) -> tuple[Graph, dict[str, np.ndarray], GraphForward]:
        """Trace by torch.fx or else torch.export; return the first with the module's own values."""
        from . import _export, _fx

        name, reasons = self.name, []
        ways = (
            lambda: _fx.trace(self.module, len(self.inputs), name, widen=self.widen),
            lambda: _export.trace(self.module, self.inputs, name, widen=self.widen),
        )
        for trace in ways:
            try:
                with self.float32():
                    graph, arrays = trace()
                    forward = self.forward(graph, arrays)
                    if self.check or self.scan.own:
                        self.compare(forward, arrays)
                return graph, arrays, forward
            except (_fx.Untraceable, ConversionError) as reason:
                reasons.append(reason)
                if _fx.recurrent(self.module) or (isinstance(reason, _GradientError) and self.scan.findings):
                    raise ConversionError(str(reason)) from reason  # torch.export would unroll it, or find the same
        # a missing operator explains more than a failed trace
        reasons.sort(key=lambda reason: not isinstance(reason, _UnsupportedOperatorError | _GradientError))
        own = f"\n(It sets gradients itself: {'; '.join(map(str, self.scan.findings[:5]))}.)" if self.scan.findings else ""
        other = str(reasons[1]).splitlines()[0]
        raise ConversionError(f"{reasons[0]}\n(The other way: {_brief(other)}){own}") from reasons[0]

    def forward(self, graph: Graph, arrays: dict[str, np.ndarray]) -> GraphForward:
        """Return the forward function of a graph, after a run on shapes."""
        from ._inputs import ours

        _require_operators(graph, self.name)
        forward = GraphForward(graph, self.output)
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in map(ours, self.inputs)]
        try:
            parts = forward.parts(arrays, *shapes)
            if not self.output and () not in parts and parts:
                first = next(iter(parts))
                forward = GraphForward(graph, first)
                if len(parts) > 1:
                    listed = ", ".join(
                        f"output={path[0] if len(path) == 1 else path!r} of {shape}" for path, shape in parts.items()
                    )
                    self.assumed = [f"that the first of what it returns are the logits; there are {listed} (give output=)"]
            logits = jax.eval_shape(forward, arrays, *shapes)
        except ConversionError:
            raise
        except Exception as error:  # an operator may fail in any way
            where = "; ".join(note for note in getattr(error, "__notes__", ()) if note.startswith("in operator"))
            reason = str(error).split("\n")[0]
            raise _UnsupportedOperatorError(
                f"{self.name}: {where or 'the graph'}: {reason} ({type(error).__name__})."
            ) from error
        if logits.shape[:1] != shapes[0].shape[:1]:
            raise ConversionError(
                f"{self.name} returns shape {logits.shape} for a batch of {shapes[0].shape[0]}: the first axis must be the "
                "batch's. Wrap it in a module that returns one row for each image."
            )
        self.outputs = logits.shape[-1] if len(logits.shape) > 1 else 1
        return forward

    def compare(self, forward: GraphForward, arrays: dict[str, np.ndarray]) -> None:
        """Compare every layer and the gradient at the inputs with PyTorch's.

        Layers are compared in a batch, and again for the first example alone.
        """
        from . import _compare, _gradients
        from ._inputs import ours

        params = {key: jnp.asarray(array) for key, array in arrays.items()}
        inputs = [ours(x) for x in self.inputs]
        rows, wrong, moves = _compare.compare_gradients(self.module, forward, params, *inputs)
        self.require_layers(rows, "several")
        if self.check:
            self.require_layers(_compare.compare(self.module, forward, params, *(x[:1] for x in inputs)), "1")
        if not wrong <= _compare.GRADIENT_TOLERANCE:
            raise _GradientError(_gradients.explained(self.name, wrong, self.scan.own or self.scan.findings))
        if not moves and self.scan.findings:
            raise _GradientError(_gradients.cut_off(self.name, self.scan.findings))

    def require_layers(self, rows: list[Any], count: str) -> None:
        from ._compare import TOLERANCE

        wrong = [row for row in rows if not row.error <= TOLERANCE]
        if wrong:
            worst = wrong[0]
            missing = "is missing" if worst.kind == "missing" else f"differs by {worst.error:.1e} of its largest value"
            raise ConversionError(
                f"{self.name}: layer {worst.name!r} ({worst.kind}, of {count} examples) {missing}; "
                f"{len(wrong)} of {len(rows)} layers are wrong. This is an error of the import, please report it."
            )


def _require_operators(graph: Graph, name: str) -> None:
    missing = dict.fromkeys((op.op, path) for path, op in graph.walk() if op.op not in OPS)
    if not missing:
        return
    places = "".join(f"\n  {op!r} in {_place(path)}" for op, path in list(missing)[:10])
    more = f"\n  and {len(missing) - 10} more" if len(missing) > 10 else ""
    recurrent = {"LSTM", "GRU", "RNN", "lstm", "gru", "rnn_tanh"} & {op for op, _ in missing}
    advice = "Recurrent layers are out of scope: convert the part before them. " if recurrent else ""
    raise _UnsupportedOperatorError(
        f"{name} uses operators that jaxlens does not have:{places}{more}\n{advice}"
        f"To add one, write a function of that name in jaxlens/graph/ops (see CONTRIBUTING, 'Add an operator'), or for now "
        f"jaxlens.graph.ops.OPS[{next(iter(missing))[0]!r}] = function."
    )


def _brief(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:297]}..."


def _place(path: str) -> str:
    return f"module {path!r}" if path else "the network itself"
