"""Find where PyTorch code sets gradients itself, by running it once."""

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import CheckpointFunction

from ._compare import tensors

# Findings that stop a gradient. Imports follow these, and cannot follow the others.
_STOPS = ("torch.no_grad", "torch.inference_mode", "detach", ".data")


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that sets gradients, and the path of the module whose code does so."""

    what: str
    path: str

    @property
    def stops(self) -> bool:
        """Whether it only makes a gradient 0."""
        return self.what in _STOPS

    def __str__(self) -> str:
        return f"{self.what} in {f'module {self.path!r}' if self.path else 'the network itself'}"


@dataclasses.dataclass
class Scan:
    """The findings of one run of a module.

    Attributes:
        findings: everything that sets gradients.
        autocast: whether `torch.autocast` was on for a part of it.
        finite: whether all returned numbers are finite.
        nan: whether any returned number is NaN; comparisons say nothing about it.
    """

    findings: tuple[Finding, ...] = ()
    autocast: bool = False
    finite: bool = True
    nan: bool = False

    @property
    def own(self) -> tuple[Finding, ...]:
        """The findings that set another gradient than that of the computation, and not only 0."""
        return tuple(each for each in self.findings if not each.stops)


def scan(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Scan:
    """Run a module, with gradients if PyTorch can; the module's errors pass through."""
    watching = _Watching()
    handles = []
    for path, child in module.named_modules():
        handles.append(child.register_forward_pre_hook(lambda *_, path=path: watching.stack.append(path)))
        handles.append(child.register_forward_hook(lambda *_: watching.leave(), always_call=True))
        if child._backward_hooks or child._backward_pre_hooks:
            watching.found[Finding("a backward hook", path)] = None
    try:
        first, again = leaves(inputs), leaves(inputs)  # outside of the watch, because they detach
        with watching:
            try:
                out = module(*first)
            except RuntimeError:  # PyTorch may run code that it cannot differentiate, such as writes into views
                with torch.no_grad():
                    out = module(*again)
    finally:
        for handle in handles:
            handle.remove()
    named = " ".join(each.what for each in watching.found)
    for name in _functions_in(out):
        if f"{name!r}" not in named:
            watching.found[Finding(f"torch.autograd.Function {name!r}", "")] = None
    outputs = [x for x in tensors(out).values() if x.is_floating_point()]
    finite = all(bool(torch.isfinite(x).all()) for x in outputs)
    nan = any(bool(torch.isnan(x).any()) for x in outputs)
    return Scan(tuple(watching.found), watching.autocast, finite, nan)


def leaves(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Return copies of the inputs that take gradients and may be written to."""
    return tuple(x.detach().clone().requires_grad_().clone() if x.is_floating_point() else x.clone() for x in inputs)


_DATA = torch.Tensor.__dict__.get("data", torch._C.TensorBase.data).__get__  # what `x.data` calls


class _Watching(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.found: dict[Finding, None] = {}
        self.autocast = False

    def leave(self) -> None:
        self.stack.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        self.autocast |= torch.is_autocast_enabled("cpu")
        what = None
        if name in ("register_hook", "register_post_accumulate_grad_hook"):
            what = "a tensor hook"
        elif name == "detach" or name == "detach_":
            what = "detach"
        elif func == _DATA:
            what = ".data"
        out = func(*args, **(kwargs or {}))
        if what is None and not torch.is_grad_enabled() and isinstance(out, torch.Tensor):
            what = stopped_by()
        if what is not None:
            self.found[Finding(what, self.stack[-1] if self.stack else "")] = None
        return out


def stopped_by() -> str | None:
    """Return why the code that runs now has no gradient.

    None inside `torch.utils.checkpoint`, which computes the gradient later.
    """
    kinds = {inspect.unwrap(each.forward).__code__: each for each in _subclasses(torch.autograd.Function) if _written(each)}
    frame = sys._getframe(1)
    while frame is not None:
        if (kind := kinds.get(frame.f_code)) is not None:
            return None if kind is CheckpointFunction else f"torch.autograd.Function {kind.__name__!r}"
        frame = frame.f_back
    return "torch.inference_mode" if torch.is_inference_mode_enabled() else "torch.no_grad"


def _written(function: type) -> bool:
    return hasattr(inspect.unwrap(function.forward), "__code__")  # type: ignore[attr-defined]


def _subclasses(kind: type) -> Iterator[type]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _functions_in(tree: Any) -> set[str]:
    """Return the names of the `torch.autograd.Function`s behind what a module returned."""
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple | list) else (tree,)
    nested = [part for part in parts if isinstance(part, dict | tuple | list)]
    nodes = [part.grad_fn for part in parts if isinstance(part, torch.Tensor) and part.grad_fn is not None]
    found, seen = set().union(*map(_functions_in, nested)), set(nodes)
    while nodes:
        node = nodes.pop()
        if isinstance(node, torch.autograd.function.BackwardCFunction) and node._forward_cls is not CheckpointFunction:  # type: ignore[attr-defined]
            found.add(node._forward_cls.__name__)  # type: ignore[attr-defined]
        more = {each for each, _ in node.next_functions if each is not None} - seen
        seen |= more
        nodes += more
    return found


def explained(name: str, error: float, findings: tuple[Finding, ...]) -> str:
    """Return the error text for an import whose gradients are not PyTorch's."""
    text = (
        f"{name}: the gradient at its input differs from PyTorch's by {error:.1e} of its size, although every layer is right. "
    )
    if not findings:
        return f"{text}This is an error of the import, please report it."
    places = "; ".join(map(str, findings[:5])) + (f"; and {len(findings) - 5} more" if len(findings) > 5 else "")
    return (
        f"{text}Its code sets gradients itself: {places}. jaxlens differentiates what the code computes. Take that off, or "
        "write the gradient you want with detach: y = x + (f(x) - x).detach() has the values of f and the gradient of x."
    )


def cut_off(name: str, findings: tuple[Finding, ...]) -> str:
    """Return the error text for an import whose outputs have no gradient at the input."""
    return (
        f"{name}: no gradient of what it returns reaches its input, because of {'; '.join(map(str, findings[:5]))}. "
        "Take that out of the code to look inside."
    )
