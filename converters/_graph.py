"""Build the graph of an imported network, module by module, with parameters in Flax's layout."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from jaxlens.graph._ir import DType, FrozenDict, Graph, Module, Node, Op, Param, Ref, Slice, references

from ._layouts import LAYOUTS

# Arguments about devices and memory, which mean nothing here.
_PLACEMENT = ("device", "layout", "pin_memory", "memory_format", "generator", "non_blocking", "requires_grad")


@dataclasses.dataclass
class _Open:
    """A module that is being built."""

    path: str
    kind: str
    inputs: list[Ref] | None
    nodes: list[Node]


class Builder:
    """A graph in the making. Nodes follow one another, and modules nest.

    Args:
        widen: whether to leave out casts to other float dtypes than float32.
    """

    def __init__(self, *, widen: bool = False) -> None:
        self.widen = widen
        self.frames = [_Open("", "", [], [])]
        self.inputs: list[str] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.count = 0

    @property
    def path(self) -> str:
        """The path of the open module."""
        return self.frames[-1].path

    def input(self, name: str) -> Ref:
        """Add an input of the network."""
        self.inputs.append(name)
        return Ref(name)

    def parameter(self, name: str, value: torch.Tensor) -> Param:
        """Add a parameter, buffer or constant under PyTorch's name."""
        if name not in self.arrays:
            self.arrays[name] = as_numpy(value)
        return Param(name)

    def op(self, name: str, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...] = ()) -> Ref:
        """Add a call of an operator."""
        name = "float" if self.widen and name in ("half", "bfloat16", "double") else name
        kept = tuple((key, value) for key, value in kwargs if key not in _PLACEMENT and not (key == "out" and value is None))
        self.frames[-1].nodes.append(Op(self._new(), name, args, kept))
        return Ref(self.frames[-1].nodes[-1].out)

    def enter(self, path: str, kind: str, inputs: list[Any] | None = None) -> None:
        """Open a module. Its inputs are by default the values that it reads from outside."""
        refs = None if inputs is None else list(dict.fromkeys(x for x in inputs if isinstance(x, Ref)))
        self.frames.append(_Open(path, kind, refs, []))

    def leave(self, result: Any) -> Ref:
        """Close the open module, which returns `result`."""
        frame = self.frames.pop()
        out = self._new()
        inputs = frame.inputs if frame.inputs is not None else _outer(frame.nodes, result)
        module = Module(out, frame.path, frame.kind, tuple(inputs), tuple(frame.nodes), result)
        self.frames[-1].nodes.append(module)
        return Ref(out)

    def finish(self, output: Any) -> tuple[Graph, dict[str, np.ndarray]]:
        """Return the graph without unused operators, and its parameters by our names."""
        (frame,) = self.frames
        nodes = _needed(tuple(frame.nodes), {ref.name for ref in references(output) if isinstance(ref, Ref)})
        used = set(_uses(nodes, []))
        renamed = _layouts(nodes)
        arrays, orders = {}, []
        for name, array in self.arrays.items():
            if name not in used:
                continue
            ours, order = renamed.get(name, (name, None))
            arrays[ours] = np.ascontiguousarray(array if order is None else array.transpose(order))
            if order is not None:
                orders.append((ours, order))
        names = {theirs: ours for theirs, (ours, _) in renamed.items()}
        return Graph(tuple(self.inputs), _renamed(nodes, names), output, tuple(orders)), arrays

    def convert(self, value: Any, node: Callable[[Any], Any]) -> Any:
        """Return an argument as a graph holds it; `node` maps a traced value to its reference."""
        if isinstance(value, torch.fx.Node):
            return node(value)
        if isinstance(value, torch.Tensor):
            return self.parameter(f"constant_{len(self.arrays)}", value)
        if isinstance(value, tuple | list):
            return tuple(self.convert(part, node) for part in value)
        if isinstance(value, dict):
            return FrozenDict(tuple((str(key), self.convert(part, node)) for key, part in value.items()))
        if isinstance(value, slice):
            parts = (value.start, value.stop, value.step)
            return Slice(tuple(self.convert(part, node) for part in parts))  # type: ignore[arg-type]
        if isinstance(value, torch.dtype):
            return DType("float32" if self.widen and value.is_floating_point else _dtype(value))
        if isinstance(value, torch.device | torch.layout | torch.memory_format):
            return None
        if isinstance(value, np.generic):
            return value.item()
        if value is Ellipsis or value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"{value!r} ({type(value).__name__}) cannot be an argument of an operator in a graph")

    def _new(self) -> str:
        self.count += 1
        return f"v{self.count}"


def _outer(nodes: list[Node], result: Any) -> list[Ref]:
    """Return the values that a module reads and that were computed before it."""
    made = set(_made(nodes))
    read: list[Any] = []
    for node in nodes:
        read += node.inputs if isinstance(node, Module) else references((node.args, tuple(value for _, value in node.kwargs)))
    read += references(result)
    return list(dict.fromkeys(ref for ref in read if isinstance(ref, Ref) and ref.name not in made))


def _made(nodes: Iterable[Node]) -> Iterator[str]:
    for node in nodes:
        yield node.out
        yield from _made(node.body if isinstance(node, Module) else ())


def as_numpy(value: torch.Tensor) -> np.ndarray:
    """Return a NumPy array: floats as float32 and int64 as int32, as in JAX."""
    value = value.detach().cpu()
    if value.is_floating_point():
        return value.float().numpy()
    array = value.numpy()
    if value.dtype != torch.int64:
        return array
    if array.size and np.abs(array).max() >= 1 << 31:
        raise TypeError(f"integers up to {np.abs(array).max()} do not fit into 32 bits")
    return array.astype(np.int32)


def _dtype(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    return {"float64": "float32", "int64": "int32"}.get(name, name)


def _needed(nodes: tuple[Node, ...], wanted: set[str]) -> tuple[Node, ...]:
    """Drop operators whose results nothing reads; modules stay, because PyTorch ran them."""
    kept: list[Node] = []
    for node in reversed(nodes):
        if isinstance(node, Module):
            wanted |= {ref.name for ref in references((node.inputs, node.result)) if isinstance(ref, Ref)}
            node = dataclasses.replace(node, body=_needed(node.body, wanted))
        elif node.out not in wanted:
            continue
        else:
            trees = (node.args, tuple(value for _, value in node.kwargs))
            wanted |= {ref.name for ref in references(trees) if isinstance(ref, Ref)}
        kept.append(node)
    return tuple(reversed(kept))


def _uses(nodes: tuple[Node, ...], found: list[str]) -> list[str]:
    for node in nodes:
        if isinstance(node, Module):
            found.extend(ref.name for ref in references(node.result) if isinstance(ref, Param))
            _uses(node.body, found)
        else:
            trees = (node.args, tuple(value for _, value in node.kwargs))
            found.extend(ref.name for ref in references(trees) if isinstance(ref, Param))
    return found


def _layouts(nodes: tuple[Node, ...]) -> dict[str, tuple[str, tuple[int, ...] | None]]:
    """Return Flax's name and layout of each parameter that serves as one kind of weight only."""
    found: dict[str, set[tuple[str, tuple[int, ...] | None] | None]] = {}

    def visit(nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            if isinstance(node, Module):
                visit(node.body)
                continue
            rules = LAYOUTS.get(node.op, {})
            for place, value in (*enumerate(node.args), *node.kwargs):
                for param in references(value):
                    if isinstance(param, Param):
                        stem, dot, leaf = param.name.rpartition(".")
                        theirs, ours, order = rules.get(place, (None, "", None)) if param is value else (None, "", None)
                        layout = (f"{stem}{dot}{ours}", order) if leaf == theirs else None
                        found.setdefault(param.name, set()).add(layout)

    visit(nodes)
    single = {name: layouts.pop() for name, layouts in found.items() if len(layouts) == 1}
    return {name: layout for name, layout in single.items() if layout is not None and layout[0] not in found}


def _renamed(tree: Any, names: dict[str, str]) -> Any:
    """Return nodes, or any part of them, with new names of parameters."""
    if isinstance(tree, Param):
        return Param(names.get(tree.name, tree.name))
    if isinstance(tree, tuple):
        return tuple(_renamed(part, names) for part in tree)
    if isinstance(tree, Op | Module | FrozenDict | Slice):
        parts = {field.name: _renamed(getattr(tree, field.name), names) for field in dataclasses.fields(tree)}
        return type(tree)(**parts)
    return tree
