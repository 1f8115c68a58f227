"""A tracer of `torch.fx` that marks where modules begin and end, and notices writing in place."""

import dataclasses
import operator
from collections.abc import Iterator
from typing import Any

import torch
import torch.fx
from torch import nn

from ._gradients import stopped_by
from ._operators import IN_PLACE_OPERATORS

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
# Modules that become one operator, because their own code looks at values.
LEAVES = (*NORMS, *INSTANCE_NORMS, nn.MultiheadAttention, nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)


def begin_module(path: str, kind: str, inputs: Any) -> None:
    """Stand in a traced graph for the beginning of a module."""


def end_module(result: Any) -> None:
    """Stand in a traced graph for the end of a module, and for what it returns."""


class WritingProxy(torch.fx.Proxy):
    """A proxy that notices writing in place; PyTorch's own takes `x += 1` for `x = x + 1`.

    It ignores hooks on gradients: `_gradients.py` finds them, and gradients are compared.
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
    setattr(WritingProxy, f"__{_function.__name__}__", _in_place(_function))


class ModuleTracer(torch.fx.Tracer):
    """A tracer that enters all modules but `LEAVES`, and marks their beginnings and ends."""

    proxy_buffer_attributes = True

    def proxy(self, node: torch.fx.Node) -> torch.fx.Proxy:
        return WritingProxy(node, self)

    def create_proxy(self, *args: Any, **kwargs: Any) -> Any:
        """Make a proxy; mark it if it is computed under `torch.no_grad`."""
        proxy = super().create_proxy(*args, **kwargs)
        if not torch.is_grad_enabled() and stopped_by() in ("torch.no_grad", "torch.inference_mode"):
            proxy.node.meta["no_grad"] = True
        return proxy

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in LEAVES

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Call a module between two marks; the code outside uses the result of the second."""
        try:
            path = self.path_of_module(m)
        except NameError:  # made by the code, such as a slice of a Sequential: only its children are layers
            if self.is_leaf_module(m, ""):
                raise
            return forward(*args, **kwargs)
        inputs = [x for x in leaves_of((args, kwargs)) if isinstance(x, torch.fx.Proxy)]
        self.create_proxy("call_function", begin_module, (path, type(m).__name__, inputs), {})
        out = super().call_module(m, forward, args, kwargs)
        if dataclasses.is_dataclass(out) and not isinstance(out, dict):
            self.create_proxy("call_function", end_module, (None,), {})
            return out
        try:
            whole = self.create_proxy("call_function", end_module, (out,), {})
        except NotImplementedError:  # an object that is neither tensor, list nor dict
            self.create_proxy("call_function", end_module, (None,), {})
            return out
        return _outside(out, whole)


def leaves_of(tree: Any) -> Iterator[Any]:
    """Yield the leaves of nested tuples, lists and dicts."""
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        for part in tree:
            yield from leaves_of(part)
    else:
        yield tree


def _outside(out: Any, whole: Any) -> Any:
    """Return `out` with the parts of `whole`, the end of the module, in place of its proxies."""
    if isinstance(out, torch.fx.Proxy):
        return whole
    if isinstance(out, dict):
        return type(out)({key: _outside(part, whole[key]) for key, part in out.items()})
    if isinstance(out, tuple | list):
        parts = [_outside(part, whole[i]) for i, part in enumerate(out)]
        return type(out)(*parts) if hasattr(out, "_fields") else type(out)(parts)
    return out
