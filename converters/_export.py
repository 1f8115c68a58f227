"""Any PyTorch module to a graph, by `torch.export`: for code that looks at sizes or writes through views."""

import contextlib
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

from ._build import Builder
from ._fx import Untraceable, refuse_scripted
from ._names import operator_name


def trace(module: nn.Module, inputs: tuple[torch.Tensor, ...], name: str, *, widen: bool = False) -> Any:
    """The graph and the parameters of a module in evaluation mode, for inputs of these sizes and any number of them.

    With `widen`, code that asks for another float dtype than float32 gets float32.

    Raises:
        Untraceable: if its course depends on the values it is given.
    """
    refuse_scripted(module, name)
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    handles = [child.register_forward_hook(_marking(path)) for path, child in module.named_modules() if path]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operator with no parts to look at
    try:
        shapes: tuple[Any, ...] = tuple({0: batch} for _ in inputs)
        kinds = [each.kind for each in inspect.signature(module.forward).parameters.values()]
        if inspect.Parameter.VAR_POSITIONAL in kinds:
            named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
            shapes = (*shapes[:named], shapes[named:])
        with _silence():
            program = torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False)
            _detach_no_grad(program.graph_module)
            program = program.run_decompositions({})  # no operator writes in place after this
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise Untraceable(f"torch.export cannot follow {name} ({type(error).__name__}: {reason})") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for handle in handles:
            handle.remove()
    first = {id(child): path for path, child in module.named_modules()}
    paths: dict[str, str] = {path: first[id(child)] for path, child in module.named_modules(remove_duplicate=False)}
    try:
        return _lower(program, paths, Builder(widen=widen))
    except (TypeError, IndexError, KeyError) as error:  # what no graph holds, or modules that were made on the way
        raise Untraceable(f"{name}: {error}") from error


_STATE = (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION)


@torch.library.custom_op("jaxlens::site", mutates_args=())
def _site(x: torch.Tensor, path: str, part: str) -> torch.Tensor:
    """Marks in an exported graph what a module returned."""
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
    """An export that fails prints the graph it had, of thousands of lines; its error says what there is to say."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _detach_no_grad(graph_module: Any) -> None:
    """Detaches what the parts of a graph that run under `torch.no_grad` return: lowering would forget that they do."""
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


def _lower(program: Any, paths: dict[str, str], builder: Builder) -> Any:
    """`paths` has the first name, under which PyTorch lists a module, of each that it has."""
    signature = program.graph_signature
    tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
    values = {**program.state_dict, **program.constants}
    names: dict[Any, Any] = {}
    stack: list[Any] = []  # the calls of modules we are in: key, and what they returned
    output: Any = None

    def close() -> None:
        _, marks = stack.pop()
        if not marks:  # it returned no tensor, nor any in a tuple or dict
            builder.leave(())
            return
        if len(marks) == 1:
            ((_, inner, node),) = marks
            names[node] = builder.leave(inner)
            return
        whole = builder.leave(_tree([(part, inner) for part, inner, _ in marks]))
        for part, _, node in marks:
            names[node] = whole
            for key in part:
                names[node] = builder.op("getitem", (names[node], key))

    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in tensors:
                names[node] = builder.parameter(tensors[node.name], values[tensors[node.name]])
            else:
                size = tuple(map(int, node.meta["val"].shape[1:]))
                names[node] = builder.op("fixed_size", (builder.input(node.name), size))
            continue
        calls = _calls(node, paths)
        while node.op == "output" and stack:
            close()
        if calls is not None:
            while [key for key, _ in stack] != [key for key, _, _ in calls[: len(stack)]]:
                close()
            for key, path, kind in calls[len(stack) :]:
                builder.enter(path, kind)
                stack.append((key, []))
        if node.op == "output":
            results = list(zip(signature.output_specs, node.args[0], strict=True))
            state = [spec.target for spec, _ in results if spec.kind in _STATE]
            if state:
                raise Untraceable(f"it changes its own {', '.join(map(repr, state))} in evaluation mode")
            returned = [value for spec, value in results if spec.kind == OutputKind.USER_OUTPUT]
            structured = tree_unflatten(returned, program.call_spec.out_spec)
            output = builder.convert(structured, names.__getitem__)
        elif node.target is torch.ops.jaxlens.site.default:
            x, _, part = node.args
            inner = builder.convert(x, names.__getitem__)
            names[node] = inner  # until the module ends
            stack[-1][1].append((tuple(json.loads(part)), inner, node))
        elif "assert" not in operator_name(node.target):
            args = builder.convert(node.args, names.__getitem__)
            kwargs = tuple((key, builder.convert(value, names.__getitem__)) for key, value in node.kwargs.items())
            names[node] = builder.op(operator_name(node.target), args, kwargs)
    return builder.finish(output)


def _tree(leaves: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """Nested tuples and dicts with these leaves at these places."""
    if len(leaves) == 1 and leaves[0][0] == ():
        return leaves[0][1]
    keys = list(dict.fromkeys(path[0] for path, _ in leaves))
    parts = {key: _tree([(path[1:], leaf) for path, leaf in leaves if path[0] == key]) for key in keys}
    if all(isinstance(key, int) for key in keys):
        return tuple(parts.get(i) for i in range(max(keys) + 1))
    return FrozenDict(tuple(parts.items()))


def _calls(node: Any, paths: dict[str, str]) -> list[tuple[str, str, str]] | None:
    """The calls of modules around a node, outermost first: key, path, class. None if the node does not know."""
    calls: dict[str, tuple[str, Any]] | None = node.meta.get("nn_module_stack")
    if node.op == "output" or calls is None or any("hook" in key for key in calls):
        return None
    return [(key, paths.get(path, path), str(kind).rpartition(".")[2]) for key, (path, kind) in calls.items() if path]
