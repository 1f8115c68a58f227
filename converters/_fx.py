"""Trace a PyTorch module into a graph with `torch.fx`.

Sizes stay symbolic, so the graph takes images of any size.
"""

import contextlib
import dataclasses
import inspect
import random
import types
from collections.abc import Iterator
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import nn

from ._graph import Builder
from ._operators import ALIASES, NUMBERS, VIEWS, operator_name, writes_in_place
from ._torchvision import is_vit_block, with_grid
from ._tracer import INSTANCE_NORMS, NORMS, ModuleTracer, begin_module, end_module, leaves_of

# Functions that only check or prepare something: no graph needs them.
_ASSERTIONS = ("_assert", "requires_grad", "_assert_async", "check", "_assert_is_none")


class Untraceable(Exception):
    """A module that one way of tracing cannot follow; the other may."""


def trace(module: nn.Module, inputs: int, name: str, *, widen: bool = False) -> Any:
    """Return the graph and the parameters of a module in evaluation mode.

    Args:
        module: the module.
        inputs: how many arguments are inputs; the others keep their defaults.
        name: how errors call the module.
        widen: whether code that asks for another float dtype than float32 gets float32.

    Raises:
        Untraceable: if the code depends on values or sizes, or writes through views.
    """
    refuse_scripted(module, name)
    tracer = ModuleTracer()
    with _left_alone(module):
        dice = torch.random.get_rng_state(), random.getstate()
        try:
            more = list(inspect.signature(module.forward).parameters.values())[inputs:]
            graph = tracer.trace(module, {each.name: each.default for each in more if each.default is not each.empty})
        except Exception as error:  # the module's own code may fail in any way on a proxy
            reason = str(error).split("\n")[0]
            raise Untraceable(f"torch.fx cannot follow {name} ({type(error).__name__}: {reason})") from error
        if not torch.equal(dice[0], torch.random.get_rng_state()) or dice[1] != random.getstate():
            raise Untraceable(f"{name} draws random numbers, of which torch.fx would make constants")
        try:
            return _Lowering(module, graph, Builder(widen=widen)).run(inputs)
        except (TypeError, KeyError) as error:  # an argument that no graph can hold, or a missing one
            raise Untraceable(f"{name}: {error}") from error


def recurrent(module: nn.Module) -> bool:
    """Return whether a module contains recurrent layers, such as an LSTM."""
    return any(isinstance(child, nn.RNNBase | nn.RNNCellBase) for child in module.modules())


def refuse_scripted(module: nn.Module, name: str) -> None:
    """Refuse modules that TorchScript has compiled: they have no Python code and no hooks."""
    scripted = [path for path, child in module.named_modules() if isinstance(child, torch.jit.ScriptModule)]
    if scripted:
        place = f"its module {scripted[0]!r}" if scripted[0] else "it"
        raise Untraceable(f"{name}: {place} is compiled by TorchScript. Give the module that torch.jit.script was given")


@contextlib.contextmanager
def _left_alone(module: nn.Module) -> Iterator[None]:
    """Restore all attributes, parameters and buffers on exit.

    `torch.fx` adds constants to modules, and code that stores what it computes (in an attribute, a
    buffer, a hook's weight) would leave proxies behind.
    """
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (each, dict(each))
        for child in module.modules()
        for each in (vars(child), child._parameters, child._buffers, child._modules)
    ]
    try:
        yield
    finally:
        for now, before in kept:
            now.clear()
            now.update(before)


@dataclasses.dataclass
class _Call:
    """A call of an operator; PyTorch's several spellings of a call become one.

    Attributes:
        name: the operator's name in the table of operators.
        args, kwargs: what it takes, without `inplace`.
        writes: whether it changes its first argument.
    """

    name: str
    args: list[Any]
    kwargs: dict[str, Any]
    writes: bool

    @property
    def first(self) -> torch.fx.Node | None:
        """The first argument, if it is a traced value."""
        return self.args[0] if self.args and isinstance(self.args[0], torch.fx.Node) else None

    @property
    def nodes(self) -> list[torch.fx.Node]:
        """All traced values among the arguments."""
        return [x for x in leaves_of((self.args, self.kwargs)) if isinstance(x, torch.fx.Node)]


def _read_call(node: torch.fx.Node) -> _Call:
    """Return the call that a node stands for.

    Raises:
        Untraceable: if it writes to `out=`, or calls a function that only shares PyTorch's name.
    """
    name, args, kwargs = operator_name(node.target), list(node.args), dict(node.kwargs)
    if isinstance(node.target, types.FunctionType):
        owner = node.target.__module__
        if not owner.startswith("torch") and any(hasattr(space, name) for space in (torch, F, torch.Tensor)):
            raise Untraceable(f"{owner}.{name} has the name of a function of PyTorch")
        places = list(inspect.signature(node.target).parameters)
        if "inplace" in places[: len(args)]:  # F.relu(x, True)
            kwargs["inplace"] = args.pop(places.index("inplace"))
    if kwargs.get("out") is not None:
        raise Untraceable(f"{name} writes its result into out=")
    if name == "where" and node.op == "call_method":  # x.where(condition, other)
        args[:2] = args[1::-1]
    if name == "getitem" and isinstance(args[1], list):  # x[[0, 1]], which a graph would hold as x[0, 1]
        args[1] = (args[1],)
    writes = bool(kwargs.pop("inplace", False)) or writes_in_place(node.target)
    return _Call(name, args, kwargs, writes)


class _Lowering:
    """Turn a traced graph into one of ours, node by node.

    An in-place operator becomes a new value, and all names of the old value then mean the new one.

    Attributes:
        names: each node's value in the graph that is built.
        storage: nodes with the same number may share memory.
        exact: nodes with the same number are the same tensor.
        numbers: nodes that are numbers or sizes, not tensors.
        results: what a module returned, by the node of its exit.
        last_use: the position of the last node that reads a node.
    """

    def __init__(self, module: nn.Module, graph: torch.fx.Graph, builder: Builder):
        self.module, self.graph, self.builder = module, graph, builder
        self.names: dict[torch.fx.Node, Any] = {}
        self.storage: dict[torch.fx.Node, int] = {}
        self.exact: dict[torch.fx.Node, int] = {}
        self.numbers: set[torch.fx.Node] = set()
        self.results: dict[torch.fx.Node, Any] = {}
        self.last_use: dict[torch.fx.Node, int] = {}
        for position, node in enumerate(graph.nodes):
            for used in node.all_input_nodes:
                self.last_use[used] = position

    def run(self, inputs: int) -> Any:
        """Return the graph and its parameters; the first `inputs` placeholders are inputs."""
        output: Any = None
        for position, node in enumerate(self.graph.nodes):
            if node.op == "placeholder":
                self.placeholder(node, inputs)
            elif node.op == "get_attr":
                self.names[node] = self.builder.parameter(str(node.target), _attribute(self.module, str(node.target)))
                self.fresh(node)
            elif node.op == "output":
                output = self.convert(node.args[0])
            elif node.op == "call_module":
                self.leaf(node)
                self.stop(node)
            elif node.target is begin_module:
                path, kind, given = node.args
                self.builder.enter(path, kind, [self.names[x] for x in given])
            elif node.target is end_module:
                self.exit(node)
            else:
                self.operator(node, position)
        return self.builder.finish(output)

    def placeholder(self, node: torch.fx.Node, inputs: int) -> None:
        """Add an argument of the network: an input, or one that keeps its default."""
        if str(node.target).startswith("*") and not str(node.target).startswith("**"):
            raise Untraceable(f"torch.fx takes the arguments {node.target} for one tensor")
        if len(self.builder.inputs) < inputs:
            self.names[node] = self.builder.input(node.name)
        elif node.args:  # its default; the graph contains it already, and asserts it
            self.names[node] = self.convert(node.args[0])
        self.fresh(node)

    def exit(self, node: torch.fx.Node) -> None:
        """Close a module."""
        returned: Any = node.args[0]
        if isinstance(returned, torch.fx.Node) and isinstance(returned.target, type):  # a named tuple
            returned = self.results[returned]
        self.results[node] = returned
        result = self.convert(returned)
        if is_vit_block(self.module.get_submodule(self.builder.path)):
            result = with_grid(result, self.builder)
        self.names[node] = self.builder.leave(result)
        self.same(node, returned)

    def operator(self, node: torch.fx.Node, position: int) -> None:
        """Add the call of a function or method."""
        if isinstance(node.target, type) and hasattr(node.target, "_fields"):  # a named tuple, made to be returned
            self.results[node] = node.target(*node.args, **node.kwargs)
            self.names[node] = self.convert(self.results[node])
        elif operator_name(node.target) not in _ASSERTIONS:
            call = _read_call(node)
            self.names[node] = self.builder.op(call.name, self.convert(tuple(call.args)), self.kwargs(call.kwargs))
            self.stop(node)
            self.track(node, call, position)

    def track(self, node: torch.fx.Node, call: _Call, position: int) -> None:
        """Record whether a result is a number, and which tensors it shares memory with."""
        first, nodes = call.first, call.nodes
        if call.name in NUMBERS or (call.name == "getattr" and call.args[1] in ("shape", "ndim", "dtype", "device")):
            self.numbers.add(node)
        elif nodes and all(x in self.numbers for x in nodes):
            self.numbers.add(node)
            return
        if first is None:
            self.fresh(node)
        elif call.writes and first not in self.numbers:
            self.write(node, first, position)
        elif call.name == "getitem" and isinstance(self.results.get(first), tuple | list | dict):
            self.results[node] = self.results[first][call.args[1]]
            self.same(node, self.results[node])
        elif call.name in ALIASES or call.name in VIEWS:
            self.alias(node, first, exact=call.name in ALIASES)
        else:
            self.fresh(node)

    def stop(self, node: torch.fx.Node) -> None:
        """Stop the gradient of what ran under `torch.no_grad`."""
        if node.meta.get("no_grad"):
            self.names[node] = self.builder.op("detach", (self.names[node],))

    def write(self, node: torch.fx.Node, target: torch.fx.Node, position: int) -> None:
        """Let every name of `target`, which `node` writes to, mean the result from now on."""
        if node.meta.get("no_grad"):
            raise Untraceable(f"it writes in place ({operator_name(node.target)}) under torch.no_grad")
        if target.op == "get_attr":
            raise Untraceable(f"it writes to its own parameter or buffer {target.target!r}")
        for other, storage in list(self.storage.items()):
            used = self.last_use.get(other, -1) > position
            if storage != self.storage[target] or not used or other is node:
                continue
            if self.exact[other] != self.exact[target]:
                raise Untraceable(f"it writes in place ({operator_name(node.target)}) to memory that a view shares")
        for other, exact in self.exact.items():
            if exact == self.exact[target]:
                self.names[other] = self.names[node]
        self.alias(node, target, exact=True)

    def leaf(self, node: torch.fx.Node) -> None:
        """Add the call of a module that is one operator."""
        path = str(node.target)
        module = self.module.get_submodule(path)
        args = [self.convert(arg) for arg in node.args]
        if module.training or module._forward_hooks or module._forward_pre_hooks:
            raise Untraceable(f"{path!r} is in training mode, or has hooks")
        if isinstance(module, nn.MultiheadAttention):
            self.names[node] = self.attention(node, module, path, args)
        elif isinstance(module, (*NORMS, *INSTANCE_NORMS)):
            self.names[node] = self.norm(module, path, args)
        else:
            self.names[node] = self.builder.op(type(module).__name__, tuple(args))
        self.fresh(node)

    def norm(self, module: Any, path: str, args: list[Any]) -> Any:
        """Normalize with the module's running statistics, or without them with each image's own."""
        running = isinstance(module, NORMS) or module.track_running_stats
        statistics = [self.parameter(module, path, name) for name in (("running_mean", "running_var") if running else ())]
        weights = [self.parameter(module, path, name) for name in ("weight", "bias")]
        name = "batch_norm" if running else "instance_norm"
        return self.builder.op(name, (*args, *(statistics or (None, None)), *weights), (("eps", module.eps),))

    def attention(self, node: torch.fx.Node, module: nn.MultiheadAttention, path: str, args: list[Any]) -> Any:
        """Add PyTorch's attention with one matrix for queries, keys and values."""
        if module.in_proj_weight is None or module.bias_k is not None:
            raise Untraceable("MultiheadAttention with separate widths of keys or values, or with bias_kv")
        kwargs = dict(self.kwargs(dict(node.kwargs))) | {
            "in_proj": self.parameter(module, path, "in_proj_weight"),
            "in_proj_bias": self.parameter(module, path, "in_proj_bias"),
            "out_proj": self.parameter(module.out_proj, f"{path}.out_proj", "weight"),
            "out_proj_bias": self.parameter(module.out_proj, f"{path}.out_proj", "bias"),
            "heads": module.num_heads,
            "batch_first": module.batch_first,
        }
        if module.add_zero_attn:
            raise Untraceable("MultiheadAttention with add_zero_attn")
        return self.builder.op("multi_head_attention", tuple(args), tuple(kwargs.items()))

    def parameter(self, module: nn.Module, path: str, name: str) -> Any:
        """Add a parameter or buffer of a module; None if the module has none of that name."""
        value = getattr(module, name)
        return None if value is None else self.builder.parameter(f"{path}.{name}", value)

    def fresh(self, node: torch.fx.Node) -> None:
        """Record that a node shares memory with no earlier one."""
        self.storage[node] = self.exact[node] = len(self.storage)

    def same(self, node: torch.fx.Node, result: Any) -> None:
        """Record that a node is what a module returned: another node, or something new."""
        if isinstance(result, torch.fx.Node):
            self.alias(node, result, exact=True)
        else:
            self.fresh(node)

    def alias(self, node: torch.fx.Node, of: torch.fx.Node, *, exact: bool) -> None:
        """Record that a node shares memory with another; with `exact` it is the same tensor."""
        self.fresh(node)
        if of in self.storage:
            self.storage[node] = self.storage[of]
            self.exact[node] = self.exact[of] if exact else self.exact[node]

    def kwargs(self, kwargs: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
        """Return keyword arguments as a graph holds them."""
        return tuple((name, self.convert(value)) for name, value in kwargs.items())

    def convert(self, value: Any) -> Any:
        """Return an argument as a graph holds it."""
        return self.builder.convert(value, lambda node: self.names[node])


def _attribute(module: nn.Module, path: str) -> torch.Tensor:
    for part in path.split("."):
        module = getattr(module, part)
    if not isinstance(module, torch.Tensor):
        raise Untraceable(f"{path!r} is not a tensor but {type(module).__name__}")
    return module
