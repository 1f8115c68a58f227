"""A network as data: operators by name, the modules around them, and where each value comes from.

The data is hashable and can be written as JSON.
"""

import dataclasses
import json
import math
import re
import reprlib
from collections.abc import Iterator
from typing import Any

from jaxlens.errors import WeightsError

VERSION = 1
# Limits that the graph of no network reaches: how deep lists are nested, how large numbers are,
# and how long texts and lists of arguments are.
_DEPTH, _NUMBER, _LENGTH = 100, 1 << 63, 4096


@dataclasses.dataclass(frozen=True)
class Ref:
    """The value of the node, or of the network's input, that has this name."""

    name: str


@dataclasses.dataclass(frozen=True)
class Param:
    """The parameter that has this dotted name."""

    name: str


@dataclasses.dataclass(frozen=True)
class Op:
    """One call of an operator: `out = op(*args, **kwargs)`."""

    out: str
    op: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True)
class Module:
    """One call of a PyTorch module: a site.

    `body` computes `result` from `inputs`; `result` may be nested tuples and dicts.
    """

    out: str
    path: str
    kind: str
    inputs: tuple[Ref, ...]
    body: tuple["Node", ...]
    result: Any


Node = Op | Module


@dataclasses.dataclass(frozen=True)
class Graph:
    """A whole network as data.

    Attributes:
        inputs: the names of its inputs.
        nodes: its operators and modules in the order of execution.
        output: what it returns: references in nested tuples and dicts.
        orders: the order of axes of each parameter that is not stored in PyTorch's order.

    Example:
        >>> import torch
        >>> from jaxlens import Model
        >>> from jaxlens.model import IMAGENET
        >>> layers = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten()
        >>> module = torch.nn.Sequential(*layers)
        >>> model = Model.from_torch(module, input_size=(6, 8), preprocess=IMAGENET)
        >>> graph = model.forward.graph
        >>> [(path, op.op) for path, op in graph.walk()]
        [('0', 'conv2d'), ('1', 'relu'), ('2', 'flatten')]
    """

    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    output: Any
    orders: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def walk(self) -> Iterator[tuple[str, Op]]:
        """Yield every operator with the path of its module."""
        return _walk(self.nodes, "")

    def parameters(self) -> set[str]:
        """Return the names of the parameters that the graph reads."""
        trees = [(op.args, tuple(value for _, value in op.kwargs)) for _, op in self.walk()]
        results = [module.result for module in _modules(self.nodes)]
        return {ref.name for ref in references((*trees, *results, self.output)) if isinstance(ref, Param)}

    def to_json(self) -> str:
        """Return the graph as text; `Graph.from_json` reads it."""
        return json.dumps(
            {
                "version": VERSION,
                "inputs": self.inputs,
                "nodes": [_write_node(node) for node in self.nodes],
                "output": _write(self.output),
                "orders": dict(self.orders),
            },
            separators=(",", ":"),
            allow_nan=False,
        )

    @staticmethod
    def from_json(text: str) -> "Graph":
        """Read a graph from an untrusted text.

        The text can name operators of jaxlens. Nothing else in it is ever called.

        Raises:
            WeightsError: if the text is not a graph.
        """
        try:
            found = json.loads(text)
            version = found["version"]
            if version != VERSION:
                raise WeightsError(
                    f"The graph has version {reprlib.repr(version)}; this jaxlens reads version {VERSION}. Convert it again."
                )
            _require_shallow(found)
            graph = Graph(
                inputs=tuple(map(_name, _list(found["inputs"]))),
                nodes=tuple(_read_node(node) for node in _list(found["nodes"])),
                output=_read(found["output"]),
                orders=tuple((_name(name), _order(order)) for name, order in found["orders"].items()),
            )
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            if isinstance(error, WeightsError):
                raise
            raise WeightsError(f"The graph in the file is damaged ({type(error).__name__}: {error}).") from error
        _check(graph)
        return graph


@dataclasses.dataclass(frozen=True)
class FrozenDict:
    """A hashable dict."""

    items: tuple[tuple[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class Slice:
    """A hashable slice."""

    parts: tuple[Any, Any, Any]


@dataclasses.dataclass(frozen=True)
class DType:
    """A dtype by JAX's name."""

    name: str


def _walk(nodes: tuple[Node, ...], path: str) -> Iterator[tuple[str, Op]]:
    for node in nodes:
        if isinstance(node, Op):
            yield path, node
        else:
            yield from _walk(node.body, node.path)


def _modules(nodes: tuple[Node, ...]) -> Iterator[Module]:
    for node in nodes:
        if isinstance(node, Module):
            yield node
            yield from _modules(node.body)


def _write_node(node: Node) -> dict[str, Any]:
    if isinstance(node, Op):
        kwargs = {name: _write(value) for name, value in node.kwargs}
        return {"out": node.out, "op": node.op, "args": _write(node.args)} | ({"kwargs": kwargs} if kwargs else {})
    return {
        "out": node.out,
        "module": node.path,
        "kind": node.kind,
        "inputs": [ref.name for ref in node.inputs],
        "body": [_write_node(inner) for inner in node.body],
        "result": _write(node.result),
    }


def _write(value: Any) -> Any:
    if isinstance(value, Ref):
        return {"ref": value.name}
    if isinstance(value, Param):
        return {"param": value.name}
    if isinstance(value, DType):
        return {"dtype": value.name}
    if isinstance(value, Slice):
        return {"slice": [_write(part) for part in value.parts]}
    if isinstance(value, FrozenDict):
        return {"dict": [[key, _write(part)] for key, part in value.items]}
    if isinstance(value, tuple):
        return [_write(part) for part in value]
    if value is Ellipsis:
        return {"ellipsis": True}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} cannot be part of a graph")


def _require_shallow(tree: Any) -> None:
    """Refuse nesting that would exceed Python's limit of recursion, here or in a later run."""
    level = [tree]
    for _ in range(_DEPTH):
        level = [part for each in level for part in (each.values() if isinstance(each, dict) else each)]
        level = [part for part in level if isinstance(part, dict | list)]
    if level:
        raise ValueError(f"it is nested more than {_DEPTH} deep")


def _read_node(node: Any) -> Node:
    if "op" in node:
        kwargs = tuple((_name(name), _read(value)) for name, value in node.get("kwargs", {}).items())
        return Op(_name(node["out"]), _name(node["op"]), tuple(map(_read, _list(node["args"]))), kwargs)
    inputs = tuple(Ref(_name(name)) for name in _list(node["inputs"]))
    body = tuple(_read_node(inner) for inner in _list(node["body"]))
    return Module(_name(node["out"]), _path(node["module"]), _name(node["kind"]), inputs, body, _read(node["result"]))


_READERS = {
    "ref": lambda value: Ref(_name(value)),
    "param": lambda value: Param(_name(value)),
    "dtype": lambda value: DType(_dtype(value)),
    "slice": lambda value: Slice(_three(tuple(_read(part) for part in _list(value)))),
    "dict": lambda value: FrozenDict(tuple((_name(key), _read(part)) for key, part in value)),
    "ellipsis": lambda value: Ellipsis,
    "float": lambda value: float(_name(value)),
}


def _read(value: Any) -> Any:
    if isinstance(value, list | str) and len(value) > _LENGTH:
        raise ValueError(f"{reprlib.repr(value)} is too long")
    if isinstance(value, list):
        return tuple(map(_read, value))
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        return _READERS[kind](inner)
    if isinstance(value, int) and abs(value) >= _NUMBER:
        raise ValueError(f"{reprlib.repr(value)} is too large a number")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LENGTH:
        raise TypeError(f"{reprlib.repr(value)} is not a name")
    return value


def _path(value: Any) -> str:
    """Return the path of a module, or refuse one that could be a path of the file system.

    PyTorch's names have no empty parts, so no path is `..`.
    """
    if not all(part and part.isprintable() and part[0] not in "/\\~" for part in _name(value).split(".")):
        raise ValueError(f"{reprlib.repr(value)} is no path of a module")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{reprlib.repr(value)} is not a list")
    return value


def _three(parts: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    start, stop, step = parts
    return start, stop, step


def _dtype(value: Any) -> str:
    if not re.fullmatch(r"bool|u?int\d+|b?float\d+(_\w+)?|complex\d+", _name(value)):
        raise ValueError(f"{reprlib.repr(value)} is no dtype")
    return value


def _order(value: Any) -> tuple[int, ...]:
    if sorted(_list(value)) != list(range(len(value))):
        raise ValueError(f"{reprlib.repr(value)} is no order of axes")
    return tuple(map(int, value))


def references(tree: Any) -> Iterator[Ref | Param]:
    """Yield the values and parameters that a tree of arguments refers to."""
    if isinstance(tree, Ref | Param):
        yield tree
    elif isinstance(tree, tuple):
        for part in tree:
            yield from references(part)
    elif isinstance(tree, Slice):
        yield from references(tree.parts)
    elif isinstance(tree, FrozenDict):
        for _, part in tree.items:
            yield from references(part)


def _check(graph: Graph) -> None:
    """Require that every reference is to a value that is computed before."""
    known = set(graph.inputs)

    def visit(nodes: tuple[Node, ...]) -> None:
        for node in nodes:
            if isinstance(node, Op):
                require(node.op, node.args)
                require(node.op, tuple(value for _, value in node.kwargs))
            else:
                require(node.path, node.inputs)
                visit(node.body)
                require(node.path, node.result)
            known.add(node.out)

    def require(where: str, tree: Any) -> None:
        for each in references(tree):
            if isinstance(each, Ref) and each.name not in known:
                raise WeightsError(f"The graph in the file is damaged: {where!r} reads {each.name!r}, which nothing computes.")

    visit(graph.nodes)
    require("output", graph.output)
