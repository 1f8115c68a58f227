"""Compare a PyTorch network with ours: every layer's values, and the gradient at the inputs."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens._program import OPERATORS_WANTED
from jaxlens.graph import GraphForward
from jaxlens.model import Site
from jaxlens.model._sites import RESERVED, intercepting

TOLERANCE = 1e-4
# The tolerance of gradients, relative to their length: rounding takes a few ReLUs to the other side
# of their kink.
GRADIENT_TOLERANCE = 1e-2


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer in a comparison.

    Attributes:
        name: the layer's name.
        kind: its class; "missing" if our network lacks it.
        shape: the shape of its output for one image.
        error: the largest difference, relative to the largest value in PyTorch.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    error: float


Calls = dict[str, list[np.ndarray]]


def compare(module: Any, forward: Any, params: Any, *inputs: Any) -> list[Row]:
    """Run both networks on the same inputs and compare every layer that PyTorch names.

    Args:
        module: the PyTorch network.
        forward: our network, `forward(params, *inputs)`.
        params: the same weights.
        *inputs: the inputs of both, maps channels last.

    Returns: a row per layer, in the order in which PyTorch runs them. The error is infinite if our
        network lacks the layer, or if the shapes differ.
    """
    path = forward.output if isinstance(forward, GraphForward) else ()
    logits = "output" + "".join(f"[{key}]" for key in path)
    calls, outputs, _ = _torch_calls(module, inputs, gradient=False)
    ours, kinds = run_ours(forward, params, *inputs)
    return _rows(_labelled(calls, outputs, logits), ours, kinds)


def compare_gradients(module: Any, forward: GraphForward, params: Any, *inputs: Any) -> tuple[list[Row], float, bool]:
    """Compare every layer, and the gradient of a random score of all outputs at the inputs.

    Our network first runs with JAX's own pools and convolutions, whose gradients compile fast. If
    the result differs, it runs again with our pools, which break ties as PyTorch does.

    Returns: the rows of `compare`; the difference of the gradients, relative to their length in
        PyTorch; and whether a gradient reaches an input. If PyTorch cannot differentiate its own
        code, the difference is 0 and the last is True.
    """
    logits = "output" + "".join(f"[{key}]" for key in forward.output)
    with _frozen(module):
        calls, outputs, pulled = _torch_calls(module, inputs, gradient=True)
    theirs = _labelled(calls, outputs, logits)
    weights = {name: w for name, (w, _) in pulled.items() if name.startswith("output")}
    want = [g for name, (_, g) in pulled.items() if name.startswith("input")]
    rows: list[Row] = []
    wrong = float("inf")
    for operators in (True, False):
        try:
            with OPERATORS_WANTED(operators):
                ours, kinds, gradients = _our_gradients(forward, params, inputs, weights)
        except NotImplementedError:  # JAX has no gradient of dilated pools
            if operators:
                continue
            raise
        rows, wrong = _rows(theirs, ours, kinds), gradient_error(gradients, want)
        if wrong <= GRADIENT_TOLERANCE and all(row.error <= TOLERANCE for row in rows):
            break
    return rows, wrong, not want or any(g is not None for g in want)


def gradient_error(got: list[np.ndarray], want: list[np.ndarray | None]) -> float:
    """Return the length of the difference over the length of PyTorch's gradients.

    It is 0 if PyTorch has none to compare.
    """
    if not want or not got:
        return 0.0
    pairs = [(g, np.zeros_like(g) if w is None else w) for g, w in zip(got, want, strict=True)]
    a, b = (np.concatenate([x.ravel() for x in side]).astype(np.float64) for side in zip(*pairs, strict=True))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if same.all():
        return 0.0
    a, b = np.where(same, 0, a), np.where(same & ~np.isfinite(b), 0, b)
    difference = float(np.linalg.norm(np.where(same, 0, a - b)) / max(float(np.linalg.norm(b)), 1e-30))
    return difference if np.isfinite(difference) else float("inf")


def _rows(theirs: dict[str, np.ndarray], ours: dict[str, np.ndarray], kinds: dict[str, str]) -> list[Row]:
    rows = []
    for name, want in theirs.items():
        got = ours.get(name, np.empty(0))
        wrong = error(got, want)
        if want.ndim >= 3:  # PyTorch's maps have channels first, but Swin's have them last
            wrong = min(wrong, error(got, np.moveaxis(want, 1, -1)))
        rows.append(Row(name, kinds.get(name, "missing"), got.shape[1:], wrong))
    return rows


def run_ours(forward: Any, params: Any, *inputs: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the output and the kind of every layer of our network, under `run_torch`'s names."""
    kinds: dict[str, str] = {}

    def run(params: Any, *inputs: jax.Array) -> dict[str, list[jax.Array]]:
        calls: dict[str, list[jax.Array]] = {}
        with jax.default_matmul_precision("highest"), intercepting([_recording(calls, kinds)], {}):
            out = forward(params, *inputs)
        return calls | {"logits": [out]}

    return _values(_run_once(run, params, *map(jnp.asarray, inputs)), kinds)


def _our_gradients(
    forward: GraphForward, params: Any, inputs: tuple[Any, ...], weights: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, str], list[np.ndarray]]:
    kinds: dict[str, str] = {}
    arrays = [jnp.asarray(x) for x in inputs]
    moving = [i for i, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.floating)]

    def run(params: Any, floats: list[jax.Array], weights: Any, *inputs: jax.Array) -> Any:
        def network(floats: list[jax.Array]) -> tuple[dict[str, jax.Array], Any]:
            given, calls = list(inputs), {}
            for i, x in zip(moving, floats, strict=True):
                given[i] = x
            with intercepting([_recording(calls, kinds)], {}):
                leaves = forward.outputs(params, *given)
            for path, leaf in leaves.items():
                label = "output" + "".join(f"[{key}]" for key in path)
                calls.setdefault("logits" if path == forward.output else label, []).append(leaf.surface)
            labels = {"output" + "".join(f"[{key}]" for key in path): leaf.logical for path, leaf in leaves.items()}
            return {label: x for label, x in labels.items() if label in weights}, calls

        with jax.default_matmul_precision("highest"):
            scored, pull, calls = jax.vjp(network, floats, has_aux=True)
            # by name: a dict that has gone through `jit` has another order
            return calls, pull({label: weights[label].reshape(x.shape).astype(x.dtype) for label, x in scored.items()})[0]

    # With all optimizations: without, the gradient of a convolution with a large stride, with which
    # vision transformers begin, takes minutes.
    calls, gradients = jax.jit(run)(params, [arrays[i] for i in moving], weights, *arrays)
    return *_values(calls, kinds), [np.moveaxis(g, -1, 1) if g.ndim == 4 else np.asarray(g) for g in map(np.asarray, gradients)]


def _recording(calls: dict[str, list[jax.Array]], kinds: dict[str, str]) -> Any:
    def record(site: Site, call: Any, *args: Any, **kwargs: Any) -> Any:
        out = call(*args, **kwargs)
        if hasattr(out, "shape"):
            calls.setdefault(site.name, []).append(out)
            kinds[site.name] = site.kind
        return out

    return record


def _run_once(run: Any, *args: Any) -> Any:
    """Run once, without optimizations: those of hundreds of outputs take longer than the run."""
    program = jax.jit(run).lower(*args)
    quick: dict[str, str | bool] = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else {}
    return program.compile(compiler_options=quick)(*args)


def _values(calls: dict[str, list[Any]], kinds: dict[str, str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    values = _numbered({name: [np.asarray(x) for x in values] for name, values in calls.items()})
    labels = {label: name for name, each in calls.items() for label in _numbered({name: each})}
    return values, {label: kinds.get(name, "Output") for label, name in labels.items()}


def _numbered(calls: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        name if len(values) == 1 else f"{name}@{i}": value for name, values in calls.items() for i, value in enumerate(values)
    }


def error(got: np.ndarray, want: np.ndarray) -> float:
    """Return the largest difference relative to the largest value.

    Equal infinities, and NaN on both sides, do not count. The result is infinite if shapes differ
    or a number is finite on one side only.
    """
    if got.shape != want.shape:
        return float("inf")
    if np.array_equal(got, want):
        return 0.0
    same = np.zeros(want.shape, bool)
    if want.dtype.kind == "f":
        same = ((got == want) & np.isinf(want)) | (np.isnan(got) & np.isnan(want))
    got, want = np.where(same, 0, got), np.where(same, 0, want)
    largest = float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-30))
    return largest if np.isfinite(largest) else float("inf")


def tensors(tree: Any, name: str = "") -> dict[str, Any]:
    """Return the tensors in nested tuples and dicts, by their places: `[0]`, `[aux]`."""
    if hasattr(tree, "numpy"):
        return {name: tree}
    if isinstance(tree, dict):
        parts = tree.items()
    else:
        parts = enumerate(tree) if isinstance(tree, tuple | list) else ()
    return {path: leaf for key, part in parts for path, leaf in tensors(part, f"{name}[{key}]").items()}


def run_torch(module: Any, *inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Return what every named module of a PyTorch network outputs.

    A module that is called several times is `name@k`. A module that returns several tensors gives
    `name[0]`, `name[key]`. The network's own results are `output`, `output[key]`. Names that a
    Model reserves get an underscore, as its layers do. Inputs are channels last.
    """
    calls, outputs, _ = _torch_calls(module, inputs, gradient=False)
    return _labelled(calls, outputs, "")


def _labelled(calls: Calls, outputs: dict[str, np.ndarray], logits: str) -> dict[str, np.ndarray]:
    """Return layers and outputs by the names of our sites; the output named `logits` is those."""
    calls = {name: list(values) for name, values in calls.items()}
    for name, value in outputs.items():
        calls.setdefault("logits" if name == logits else name, []).append(value)
    return _numbered(calls)


def _torch_calls(
    module: Any, inputs: tuple[Any, ...], *, gradient: bool
) -> tuple[Calls, dict[str, np.ndarray], dict[str, Any]]:
    """Run a PyTorch network once.

    Returns: what every module outputs; what the network outputs; and with `gradient` the weights of
        a score of the outputs, and the score's gradients at the inputs, under the names of both.
    """
    import torch

    calls: Calls = {}

    def hook(name: str) -> Any:
        def record(_module: Any, _inputs: Any, output: Any) -> None:
            found = tensors(output)
            for part, value in found.items():  # copied, because torchvision's ReLUs work in place
                calls.setdefault(name + part * (len(found) > 1), []).append(_array(value).copy())

        return record

    handles = [
        child.register_forward_hook(hook(f"{name}_" if name.rstrip("_") in RESERVED else name))
        for name, child in module.named_modules()
        if name
    ]
    given = [
        torch.from_numpy(np.array(np.moveaxis(x, -1, 1) if x.ndim == 4 else x, order="C")) for x in map(np.asarray, inputs)
    ]
    floats = [x.requires_grad_() for x in given if x.is_floating_point() and gradient]
    try:
        try:
            with torch.set_grad_enabled(gradient):
                out = tensors(module(*(x.clone() for x in given)))  # a clone, because modules may write to it
        except RuntimeError:  # PyTorch may run code that it cannot differentiate, such as writes into views
            calls.clear()
            with torch.no_grad():
                out = tensors(module(*(x.clone() for x in given)))
    finally:
        for handle in handles:
            handle.remove()
    outputs = {f"output{part}": value for part, value in out.items()}
    pulled = _pulled(outputs, floats) if gradient else {}
    return calls, {name: _array(value) for name, value in outputs.items()}, pulled


def _pulled(outputs: dict[str, Any], inputs: list[Any]) -> dict[str, Any]:
    """Return random weights of a score of the outputs, and the score's gradients at the inputs."""
    import torch

    scored = {name: value for name, value in outputs.items() if value.is_floating_point()}
    generator = np.random.default_rng(0)
    weights = {name: generator.standard_normal(tuple(value.shape)).astype(np.float32) for name, value in scored.items()}
    live = [
        (value, torch.from_numpy(np.asarray(weights[name])).to(value.dtype))
        for name, value in scored.items()
        if value.requires_grad
    ]
    try:
        if live and inputs:  # not `autograd.grad`, which checkpoints refuse
            torch.autograd.backward([v for v, _ in live], [w for _, w in live])
        found = [x.grad for x in inputs]
    except RuntimeError:  # PyTorch cannot differentiate this code: there is nothing to compare with
        found = []
    pulled = {name: (w, None) for name, w in weights.items()}
    return pulled | {f"input{i}": (None, None if g is None else _array(g)) for i, g in enumerate(found)}


@contextlib.contextmanager
def _frozen(module: Any) -> Iterator[None]:
    """Switch off the gradients of weights, so that existing ones stay.

    The block must contain `backward`, because checkpoints run the module again in it.
    """
    learning = [weight for weight in module.parameters() if weight.requires_grad]
    try:
        for weight in learning:
            weight.requires_grad_(False)
        yield
    finally:
        for weight in learning:
            weight.requires_grad_()


def _array(value: Any) -> np.ndarray:
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).cpu().numpy()
