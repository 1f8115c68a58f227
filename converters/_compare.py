"""A PyTorch network and ours, on the same images, layer by layer."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlens.graph import GraphForward
from jaxlens.model import Site
from jaxlens.model._sites import intercepting

TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Row:
    """One layer: what it outputs for one image, and the largest difference, relative to the largest value in PyTorch."""

    name: str
    kind: str
    shape: tuple[int, ...]
    error: float


def compare(module: Any, forward: Any, params: Any, *inputs: Any) -> list[Row]:
    """Runs both networks on the same inputs and compares every layer that PyTorch names.

    Args:
        module: the PyTorch network.
        forward: ours, `forward(params, *inputs)`.
        params: the same weights.
        *inputs: what both eat, maps channels last.

    Returns: a row per layer in the order PyTorch runs them; the error of a layer that one side lacks, or that has
        another shape, is infinite.
    """
    path = forward.output if isinstance(forward, GraphForward) else ()
    logits = "output" + "".join(f"[{key}]" for key in path)
    theirs = {"logits" if name == logits else name: x for name, x in run_torch(module, *map(np.asarray, inputs)).items()}
    ours, kinds = run_ours(forward, params, *inputs)
    rows = []
    for name, want in theirs.items():
        got = ours.get(name, np.empty(0))
        wrong = error(got, want)
        if want.ndim >= 3:  # most maps have channels first in PyTorch, Swin's have them last; shapes do not always tell
            wrong = min(wrong, error(got, np.moveaxis(want, 1, -1)))
        rows.append(Row(name, kinds.get(name, "missing"), got.shape[1:], wrong))
    return rows


def run_ours(forward: Any, params: Any, *inputs: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What every layer of our network outputs, and its kind, under the names that `run_torch` uses."""
    kinds: dict[str, str] = {}

    def run(params: Any, *inputs: jax.Array) -> dict[str, list[jax.Array]]:
        calls: dict[str, list[jax.Array]] = {}

        def record(site: Site, call: Any, *args: Any, **kwargs: Any) -> Any:
            out = call(*args, **kwargs)
            if hasattr(out, "shape"):
                calls.setdefault(site.name, []).append(out)
                kinds[site.name] = site.kind
            return out

        with jax.default_matmul_precision("highest"), intercepting([record], {}):
            out = forward(params, *inputs)
        kinds["logits"] = "Output"
        return calls | {"logits": [out]}

    program = jax.jit(run).lower(params, *map(jnp.asarray, inputs))
    # It runs once: hundreds of layers as outputs take longer to optimise than to compute.
    quick: dict[str, str | bool] = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else {}
    calls = program.compile(compiler_options=quick)(params, *map(jnp.asarray, inputs))
    values = _numbered({name: [np.asarray(x) for x in values] for name, values in calls.items()})
    return values, {label: kinds[label.partition("@")[0]] for label in values}


def _numbered(calls: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        name if len(values) == 1 else f"{name}@{i}": value for name, values in calls.items() for i, value in enumerate(values)
    }


def error(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference relative to the largest value; infinite where shapes differ or a number is not finite."""
    if got.shape != want.shape:
        return float("inf")
    if np.array_equal(got, want):
        return 0.0
    largest = float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-30))
    return largest if np.isfinite(largest) else float("inf")


def tensors(tree: Any, name: str = "") -> dict[str, Any]:
    """The tensors in nested tuples and dicts, by where they are: `[0]`, `[aux]`."""
    if hasattr(tree, "numpy"):
        return {name: tree}
    if isinstance(tree, dict):
        parts = tree.items()
    else:
        parts = enumerate(tree) if isinstance(tree, tuple | list) else ()
    return {path: leaf for key, part in parts for path, leaf in tensors(part, f"{name}[{key}]").items()}


def run_torch(module: Any, *inputs: np.ndarray) -> dict[str, np.ndarray]:
    """What every named module of a PyTorch network outputs; `name@k` where one is called several times.

    A module that returns several tensors gives `name[0]`, `name[key]`; what the network itself returns is `output`,
    `output[key]`. Inputs are channels last.
    """
    import torch

    calls: dict[str, list[np.ndarray]] = {}

    def hook(name: str) -> Any:
        def record(_module: Any, _inputs: Any, output: Any) -> None:
            found = tensors(output)
            for part, value in found.items():  # copied, as torchvision's ReLUs work in place
                calls.setdefault(name + part * (len(found) > 1), []).append(value.numpy().copy())

        return record

    handles = [child.register_forward_hook(hook(name)) for name, child in module.named_modules() if name]
    try:
        with torch.no_grad():
            out = module(*(torch.from_numpy(np.array(np.moveaxis(x, -1, 1) if x.ndim == 4 else x, order="C")) for x in inputs))
    finally:
        for handle in handles:
            handle.remove()
    calls |= {f"output{part}": [value.numpy()] for part, value in tensors(out).items()}
    return _numbered(calls)
