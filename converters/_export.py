"""Trace a PyTorch module into a graph with `torch.export`.

It follows code that `torch.fx` does not: code that looks at sizes or writes through views.
"""

import contextlib
import dataclasses
import inspect
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.export.graph_signature import OutputKind
from torch.utils._pytree import tree_unflatten

from jaxlens.graph._ir import FrozenDict

from ._fx import Untraceable, refuse_scripted
from ._graph import Builder
from ._operators import operator_name


def trace(module: nn.Module, inputs: tuple[torch.Tensor, ...], name: str, *, widen: bool = False) -> Any:
    """Return the graph and the parameters of a module in evaluation mode.

    The graph takes batches of any size, of inputs of these sizes. With `widen`, code that asks for
    another float dtype than float32 gets float32.

    Raises:
        Untraceable: if the module's control flow depends on values.
    """
    refuse_scripted(module, name)
    try:
        program = _exported(module, inputs)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise Untraceable(f"torch.export cannot follow {name} ({type(error).__name__}: {reason})") from error
    first = {id(child): path for path, child in module.named_modules()}
    paths: dict[str, str] = {path: first[id(child)] for path, child in module.named_modules(remove_duplicate=False)}
    try:
        return _Lowering(program, paths, Builder(widen=widen)).run()
    except (TypeError, IndexError, KeyError) as error:  # values that no graph holds, or modules that the code made
        raise Untraceable(f"{name}: {error}") from error


def _exported(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
    """Export a module for any batch size, without writing in place.

    What its modules return is marked.
    """
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    shapes: tuple[Any, ...] = tuple({0: batch} for _ in inputs)
    handles = [child.register_forward_hook(_marking(path)) for path, child in module.named_modules() if path]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a fused operator has no layers to look at
    try:
        kinds = [each.kind for each in inspect.signature(module.forward).parameters.values()]
        if inspect.Parameter.VAR_POSITIONAL in kinds:
            named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
            shapes = (*shapes[:named], shapes[named:])
        with _silence():
            program = torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False)
            _detach_no_grad(program.graph_module)
            return program.run_decompositions({})
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()


_STATE = (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION)


@torch.library.custom_op("jaxlens::site", mutates_args=())
def _site(x: torch.Tensor, path: str, part: str) -> torch.Tensor:
    """Mark in an exported graph what a module returned."""
    return x.clone()


@_site.register_fake
def _(x: torch.Tensor, path: str, part: str) -> torch.Tensor:
    return torch.empty_like(x)


def _marking(path: str) -> Any:
    def mark(_module: nn.Module, _args: Any, out: Any) -> Any:
        return _marked(out, path, ())

    return mark


def _marked(out: Any, path: str, part: tuple[Any, ...]) -> Any:
    if isinstance(out, torch.Tensor):
        return _site(out, path, json.dumps(part))
    if isinstance(out, dict):
        return type(out)({key: _marked(each, path, (*part, key)) for key, each in out.items()})
    if isinstance(out, tuple | list):
        parts = [_marked(each, path, (*part, i)) for i, each in enumerate(out)]
        return type(out)(*parts) if hasattr(out, "_fields") else type(out)(parts)
    return out


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence an export: one that fails prints its graph, of thousands of lines."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _detach_no_grad(graph_module: Any) -> None:
    """Detach the results of those parts of a graph that run under `torch.no_grad`.

    Without this, the decompositions would lose that there is no gradient.
    """
    for node in graph_module.graph.nodes:
        if "wrap_with_set_grad_enabled" not in str(node.target):
            continue
        part = getattr(graph_module, node.args[1].target)
        _detach_no_grad(part)
        if node.args[0] is False:
            (output,) = part.graph.find_nodes(op="output")
            with part.graph.inserting_before(output):
                for value in output.all_input_nodes:
                    detached = part.graph.call_function(torch.ops.aten.detach.default, (value,))
                    detached.meta |= value.meta
                    output.replace_input_with(value, detached)
            part.recompile()


@dataclasses.dataclass
class _OpenModule:
    """A call of a module that is being built.

    Attributes:
        key: which call it is, in the exported program.
        returned: for each tensor that it returned, the place in its result, the value and the node
            of the mark.
    """

    key: str
    returned: list[tuple[tuple[Any, ...], Any, Any]]


class _Lowering:
    """Turn an exported program into a graph of ours, node by node.

    Attributes:
        paths: the first name of each module, under which PyTorch lists it, by any of its names.
        names: each node's value in the graph that is built.
        open: the modules around the current node, outermost first.
    """

    def __init__(self, program: Any, paths: dict[str, str], builder: Builder):
        self.program, self.paths, self.builder = program, paths, builder
        signature = program.graph_signature
        self.tensors = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self.values = {**program.state_dict, **program.constants}
        self.names: dict[Any, Any] = {}
        self.open: list[_OpenModule] = []

    def run(self) -> Any:
        """Return the graph and its parameters."""
        output: Any = None
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.names[node] = self.placeholder(node)
                continue
            self.move(node)
            if node.op == "output":
                output = self.output(node)
            elif node.target is torch.ops.jaxlens.site.default:
                x, _, part = node.args
                self.names[node] = inner = self.convert(x)  # until the module is closed
                self.open[-1].returned.append((tuple(json.loads(part)), inner, node))
            elif "assert" not in operator_name(node.target):
                args = self.convert(node.args)
                kwargs = tuple((key, self.convert(value)) for key, value in node.kwargs.items())
                self.names[node] = self.builder.op(operator_name(node.target), args, kwargs)
        return self.builder.finish(output)

    def placeholder(self, node: Any) -> Any:
        """Add a parameter, or an input of the network whose size is fixed from here on."""
        if node.name in self.tensors:
            name = self.tensors[node.name]
            return self.builder.parameter(name, self.values[name])
        size = tuple(map(int, node.meta["val"].shape[1:]))
        return self.builder.op("fixed_size", (self.builder.input(node.name), size))

    def move(self, node: Any) -> None:
        """End the modules that a node is no longer in, and begin those that it is in now."""
        if node.op == "output":
            while self.open:
                self.close()
        elif (calls := _calls(node, self.paths)) is not None:
            while [each.key for each in self.open] != [key for key, _, _ in calls[: len(self.open)]]:
                self.close()
            for key, path, kind in calls[len(self.open) :]:
                self.builder.enter(path, kind)
                self.open.append(_OpenModule(key, []))

    def close(self) -> None:
        """End the innermost module. From here on its marks mean what it returned."""
        returned = self.open.pop().returned
        if len(returned) == 1:
            ((_, inner, node),) = returned
            self.names[node] = self.builder.leave(inner)
            return
        # no marks: it returned no tensor, nor any in a tuple or dict
        whole = self.builder.leave(_tree([(part, inner) for part, inner, _ in returned]) if returned else ())
        for part, _, node in returned:
            self.names[node] = whole
            for key in part:
                self.names[node] = self.builder.op("getitem", (self.names[node], key))

    def output(self, node: Any) -> Any:
        """Return what the network returns, as a graph holds it."""
        results = list(zip(self.program.graph_signature.output_specs, node.args[0], strict=True))
        state = [spec.target for spec, _ in results if spec.kind in _STATE]
        if state:
            raise Untraceable(f"it changes its own {', '.join(map(repr, state))} in evaluation mode")
        returned = [value for spec, value in results if spec.kind == OutputKind.USER_OUTPUT]
        return self.convert(tree_unflatten(returned, self.program.call_spec.out_spec))

    def convert(self, value: Any) -> Any:
        """Return an argument as a graph holds it."""
        return self.builder.convert(value, self.names.__getitem__)


def _tree(leaves: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """Build nested tuples and dicts with these leaves at these places."""
    if len(leaves) == 1 and leaves[0][0] == ():
        return leaves[0][1]
    keys = list(dict.fromkeys(path[0] for path, _ in leaves))
    parts = {key: _tree([(path[1:], leaf) for path, leaf in leaves if path[0] == key]) for key in keys}
    if all(isinstance(key, int) for key in keys):
        return tuple(parts.get(i) for i in range(max(keys) + 1))
    return FrozenDict(tuple(parts.items()))


def _calls(node: Any, paths: dict[str, str]) -> list[tuple[str, str, str]] | None:
    """Return the calls of modules around a node, outermost first: key, path and class.

    None if the node does not know them.
    """
    calls: dict[str, tuple[str, Any]] | None = node.meta.get("nn_module_stack")
    if node.op == "output" or calls is None or any("hook" in key for key in calls):
        return None
    return [(key, paths.get(path, path), str(kind).rpartition(".")[2]) for key, (path, kind) in calls.items() if path]
