"""Any PyTorch module to a graph, by `torch.fx`: sizes stay symbolic, so the result takes images of any size."""

import contextlib
import dataclasses
import inspect
import operator
import random
import types
from collections.abc import Iterator
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import nn

from jaxlens.graph._ir import Slice

from ._build import Builder
from ._gradients import stopped_by
from ._names import ALIASES, IN_PLACE_OPERATORS, NUMBERS, VIEWS, operator_name, writes_in_place

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
# Modules whose own code looks at values that tracing does not have.
_LEAVES = (*_NORMS, *_INSTANCE_NORMS, nn.MultiheadAttention, nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)


class Untraceable(Exception):
    """What this way cannot follow; the other one may."""


def trace(module: nn.Module, inputs: int, name: str, *, widen: bool = False) -> Any:
    """The graph and the parameters of a module in evaluation mode, called with so many inputs and else its defaults.

    With `widen`, code that asks for another float dtype than float32 gets float32.

    Raises:
        Untraceable: if its code depends on the values or sizes it is given, or writes through views.
    """
    refuse_scripted(module, name)
    tracer = _Tracer()
    with _left_alone(module):
        dice = torch.random.get_rng_state(), random.getstate()
        try:
            more = list(inspect.signature(module.forward).parameters.values())[inputs:]
            graph = tracer.trace(module, {each.name: each.default for each in more if each.default is not each.empty})
        except Exception as error:  # whatever the module's own code makes of a proxy
            reason = str(error).split("\n")[0]
            raise Untraceable(f"torch.fx cannot follow {name} ({type(error).__name__}: {reason})") from error
        if not torch.equal(dice[0], torch.random.get_rng_state()) or dice[1] != random.getstate():
            raise Untraceable(f"{name} draws random numbers, of which torch.fx would make constants")
        try:
            return _Lowering(module, tracer, graph, Builder(widen=widen)).run(inputs)
        except (TypeError, KeyError) as error:  # an argument that no graph can hold, or one that was not given
            raise Untraceable(f"{name}: {error}") from error


def recurrent(module: nn.Module) -> bool:
    """Whether there is an LSTM or its like in a module."""
    return any(isinstance(child, nn.RNNBase | nn.RNNCellBase) for child in module.modules())


def refuse_scripted(module: nn.Module, name: str) -> None:
    """An error for modules that TorchScript has compiled, which have neither Python code nor hooks."""
    scripted = [path for path, child in module.named_modules() if isinstance(child, torch.jit.ScriptModule)]
    if scripted:
        place = f"its module {scripted[0]!r}" if scripted[0] else "it"
        raise Untraceable(f"{name}: {place} is compiled by TorchScript. Give the module that torch.jit.script was given")


@contextlib.contextmanager
def _left_alone(module: nn.Module) -> Iterator[None]:
    """Takes back what tracing does to modules: it keeps constants in them, and code that stores what it computes (in an
    attribute, a buffer, a hook's weight) stores proxies."""
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


def _enter(path: str, kind: str, inputs: Any) -> None: ...


def _exit(result: Any) -> None: ...


class _Proxy(torch.fx.Proxy):
    """A proxy that notices writing: without this `x += 1` would pass for `x = x + 1`.

    Hooks on its gradient are left out: `converters._gradients` finds them, and gradients are compared.
    """

    @property
    def requires_grad(self) -> bool:
        return torch.is_grad_enabled()

    def register_hook(self, hook: Any) -> torch.utils.hooks.RemovableHandle:
        return torch.utils.hooks.RemovableHandle({})

    register_post_accumulate_grad_hook = register_hook

    def retain_grad(self) -> None: ...

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})


def _in_place(function: Any) -> Any:
    return lambda self, other: self.tracer.create_proxy("call_function", function, (self, other), {})


for _function in IN_PLACE_OPERATORS:
    setattr(_Proxy, f"__{_function.__name__}__", _in_place(_function))


class _Tracer(torch.fx.Tracer):
    proxy_buffer_attributes = True

    def proxy(self, node: torch.fx.Node) -> torch.fx.Proxy:
        return _Proxy(node, self)

    def create_proxy(self, *args: Any, **kwargs: Any) -> Any:
        """Marks what runs under `torch.no_grad`."""
        proxy = super().create_proxy(*args, **kwargs)
        if not torch.is_grad_enabled() and stopped_by() in ("torch.no_grad", "torch.inference_mode"):
            proxy.node.meta["no_grad"] = True
        return proxy

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in _LEAVES

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Marks where the module begins and ends, and puts what it returns in the place of its insides."""
        try:
            path = self.path_of_module(m)
        except NameError:  # made on the way, as slices of a Sequential are: no layer, but its children are
            if self.is_leaf_module(m, ""):
                raise
            return forward(*args, **kwargs)
        inputs = [x for x in _flat((args, kwargs)) if isinstance(x, torch.fx.Proxy)]
        self.create_proxy("call_function", _enter, (path, type(m).__name__, inputs), {})
        out = super().call_module(m, forward, args, kwargs)
        if dataclasses.is_dataclass(out) and not isinstance(out, dict):
            self.create_proxy("call_function", _exit, (None,), {})
            return out
        try:
            whole = self.create_proxy("call_function", _exit, (out,), {})
        except NotImplementedError:  # an object that is neither tensor, list nor dict
            self.create_proxy("call_function", _exit, (None,), {})
            return out
        return _outside(out, whole)


def _flat(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        for part in tree:
            yield from _flat(part)
    else:
        yield tree


def _outside(out: Any, whole: Any) -> Any:
    """What a module returned, taken from its exit: `out` with the parts of `whole` for proxies."""
    if isinstance(out, torch.fx.Proxy):
        return whole
    if isinstance(out, dict):
        return type(out)({key: _outside(part, whole[key]) for key, part in out.items()})
    if isinstance(out, tuple | list):
        parts = [_outside(part, whole[i]) for i, part in enumerate(out)]
        return type(out)(*parts) if hasattr(out, "_fields") else type(out)(parts)
    return out


class _Lowering:
    """A traced graph, node by node. In-place operators become new values, which all names of the old one then mean."""

    def __init__(self, module: nn.Module, tracer: _Tracer, graph: torch.fx.Graph, builder: Builder):
        self.module, self.tracer, self.graph = module, tracer, graph
        self.builder = builder
        self.names: dict[torch.fx.Node, Any] = {}  # what a node is called now
        self.storage: dict[torch.fx.Node, int] = {}  # nodes of one number may share memory
        self.exact: dict[torch.fx.Node, int] = {}  # nodes of one number are the same tensor
        self.numbers: set[torch.fx.Node] = set()
        self.results: dict[torch.fx.Node, Any] = {}  # of the exit of a module: what it returned
        self.last_use = {}
        for position, node in enumerate(graph.nodes):
            for used in node.all_input_nodes:
                self.last_use[used] = position

    def run(self, inputs: int) -> Any:
        output: Any = None
        for position, node in enumerate(self.graph.nodes):
            if node.op == "placeholder":
                if str(node.target).startswith("*") and not str(node.target).startswith("**"):
                    raise Untraceable(f"torch.fx takes the arguments {node.target} for one tensor")
                if len(self.builder.inputs) < inputs:
                    self.names[node] = self.builder.input(node.name)
                elif node.args:  # its default, which the graph has already, and asserts
                    self.names[node] = self.convert(node.args[0])
                self.fresh(node)
            elif node.op == "get_attr":
                self.names[node] = self.builder.parameter(str(node.target), _attribute(self.module, str(node.target)))
                self.fresh(node)
            elif node.op == "output":
                output = self.convert(node.args[0])
            elif node.op == "call_module":
                self.leaf(node)
                self.stop(node)
            elif node.target is _enter:
                path, kind, given = node.args
                self.builder.enter(path, kind, [self.names[x] for x in given])
            elif node.target is _exit:
                returned = node.args[0]
                if isinstance(returned, torch.fx.Node) and isinstance(returned.target, type):  # a named tuple
                    returned = self.results[returned]
                self.results[node] = returned
                result = self.convert(returned)
                self.names[node] = self.builder.leave(self.grid(result) if self.in_vit_block() else result)
                if isinstance(returned, torch.fx.Node):
                    self.alias(node, returned, exact=True)
                else:
                    self.fresh(node)
            else:
                self.operator(node, position)
        return self.builder.finish(output)

    def in_vit_block(self) -> bool:
        """Whether the module that ends is a block of torchvision's ViT, whose patches the zoo shows as maps too."""
        block = self.module.get_submodule(self.builder.path)
        return type(block).__module__ == "torchvision.models.vision_transformer" and type(block).__name__ == "EncoderBlock"

    def grid(self, tokens: Any) -> Any:
        """The tokens after a layer `.grid`, as in `jaxlens.modelzoo.vit`."""
        build, whole = self.builder, Slice((None, None, None))
        first, patches = (build.op("getitem", (tokens, (whole, Slice(ends)))) for ends in ((None, 1, None), (1, None, None)))
        square = build.op("square_grid", (patches,))
        build.enter(f"{build.path}.grid", "Grid", [square])
        back = build.op("flatten", (build.leave(square), 1, 2))
        return build.op("cat", ((first, back), 1))

    def operator(self, node: torch.fx.Node, position: int) -> None:
        name = operator_name(node.target)
        args, kwargs = list(node.args), dict(node.kwargs)
        if isinstance(node.target, type) and hasattr(node.target, "_fields"):  # a named tuple, made to be returned
            self.results[node] = node.target(*args, **kwargs)
            self.names[node] = self.convert(self.results[node])
            return
        if name in ("_assert", "requires_grad", "_assert_async", "check", "_assert_is_none"):
            return
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
        if name == "getitem" and isinstance(args[1], list):  # x[[0, 1]], of which a graph would make x[0, 1]
            args[1] = (args[1],)
        writes = kwargs.pop("inplace", False) or writes_in_place(node.target)
        tensors = [x for x in _flat((args, kwargs)) if isinstance(x, torch.fx.Node)]
        first = args[0] if args and isinstance(args[0], torch.fx.Node) else None
        self.names[node] = self.builder.op(name, self.convert(tuple(args)), self.kwargs(kwargs))
        self.stop(node)
        if name in NUMBERS or (name == "getattr" and args[1] in ("shape", "ndim", "dtype", "device")):
            self.numbers.add(node)
        elif tensors and all(x in self.numbers for x in tensors):
            self.numbers.add(node)
            return
        if writes and first is not None and first not in self.numbers:
            self.write(node, first, position)
        elif first is not None and name == "getitem" and isinstance(self.results.get(first), tuple | list | dict):
            part = self.results[first][args[1]]
            self.results[node] = part
            if isinstance(part, torch.fx.Node):
                self.alias(node, part, exact=True)
            else:
                self.fresh(node)
        elif first is not None and (name in ALIASES or name in VIEWS):
            self.alias(node, first, exact=name in ALIASES)
        else:
            self.fresh(node)

    def stop(self, node: torch.fx.Node) -> None:
        """No gradient of what ran under `torch.no_grad`."""
        if node.meta.get("no_grad"):
            self.names[node] = self.builder.op("detach", (self.names[node],))

    def write(self, node: torch.fx.Node, target: torch.fx.Node, position: int) -> None:
        """`target` was written to: every name of it means the result from now on."""
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
        path = str(node.target)
        module = self.module.get_submodule(path)
        args = [self.convert(arg) for arg in node.args]
        if module.training or module._forward_hooks or module._forward_pre_hooks:
            raise Untraceable(f"{path!r} is in training mode, or has hooks")

        def parameter(name: str) -> Any:
            value = getattr(module, name)
            return None if value is None else self.builder.parameter(f"{path}.{name}", value)

        if isinstance(module, _NORMS) or (isinstance(module, _INSTANCE_NORMS) and module.track_running_stats):
            statistics = [parameter(name) for name in ("running_mean", "running_var", "weight", "bias")]
            eps = (("eps", module.eps),)
            self.names[node] = self.builder.op("batch_norm", (*args, *statistics), eps)
        elif isinstance(module, _INSTANCE_NORMS):
            weights = (None, None, parameter("weight"), parameter("bias"))
            self.names[node] = self.builder.op("instance_norm", (*args, *weights), (("eps", module.eps),))
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None and module.bias_k is None:
            kwargs = dict(self.kwargs(dict(node.kwargs))) | {
                "in_proj": parameter("in_proj_weight"),
                "in_proj_bias": parameter("in_proj_bias"),
                "out_proj": self.builder.parameter(f"{path}.out_proj.weight", module.out_proj.weight),
                "out_proj_bias": None
                if module.out_proj.bias is None
                else self.builder.parameter(f"{path}.out_proj.bias", module.out_proj.bias),
                "heads": module.num_heads,
                "batch_first": module.batch_first,
            }
            if module.add_zero_attn:
                raise Untraceable("MultiheadAttention with add_zero_attn")
            self.names[node] = self.builder.op("multi_head_attention", tuple(args), tuple(kwargs.items()))
        elif isinstance(module, nn.MultiheadAttention):
            raise Untraceable("MultiheadAttention with separate widths of keys or values, or with bias_kv")
        else:
            self.names[node] = self.builder.op(type(module).__name__, tuple(args))
        self.fresh(node)

    def fresh(self, node: torch.fx.Node) -> None:
        self.storage[node] = self.exact[node] = len(self.storage)

    def alias(self, node: torch.fx.Node, of: torch.fx.Node, *, exact: bool) -> None:
        self.fresh(node)
        if of in self.storage:
            self.storage[node] = self.storage[of]
            self.exact[node] = self.exact[of] if exact else self.exact[node]

    def kwargs(self, kwargs: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
        return tuple((name, self.convert(value)) for name, value in kwargs.items())

    def convert(self, value: Any) -> Any:
        return self.builder.convert(value, lambda node: self.names[node])


def _attribute(module: nn.Module, path: str) -> torch.Tensor:
    for part in path.split("."):
        module = getattr(module, part)
    if not isinstance(module, torch.Tensor):
        raise Untraceable(f"{path!r} is not a tensor but {type(module).__name__}")
    return module
