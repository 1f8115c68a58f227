"""A tracer of `torch.fx` that marks where modules begin and end, and that notices writing in place."""

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
# Modules whose own code looks at values that tracing does not have.
LEAVES = (*NORMS, *INSTANCE_NORMS, nn.MultiheadAttention, nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)


def begin_module(path: str, kind: str, inputs: Any) -> None: ...


def end_module(result: Any) -> None: ...


class WritingProxy(torch.fx.Proxy):
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
    setattr(WritingProxy, f"__{_function.__name__}__", _in_place(_function))


class ModuleTracer(torch.fx.Tracer):
    proxy_buffer_attributes = True

    def proxy(self, node: torch.fx.Node) -> torch.fx.Proxy:
        return WritingProxy(node, self)

    def create_proxy(self, *args: Any, **kwargs: Any) -> Any:
        """Marks what runs under `torch.no_grad`."""
        proxy = super().create_proxy(*args, **kwargs)
        if not torch.is_grad_enabled() and stopped_by() in ("torch.no_grad", "torch.inference_mode"):
            proxy.node.meta["no_grad"] = True
        return proxy

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in LEAVES

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Marks where the module begins and ends, and puts what it returns in the place of its insides."""
        try:
            path = self.path_of_module(m)
        except NameError:  # made on the way, as slices of a Sequential are: no layer, but its children are
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
    if isinstance(tree, dict):
        tree = tuple(tree.values())
    if isinstance(tree, tuple | list):
        for part in tree:
            yield from leaves_of(part)
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
