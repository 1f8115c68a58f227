"""Unwrap a PyTorch module, put it into evaluation mode and float32, and restore it later."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

# Where wrappers keep the module that they run.
_INSIDE = ("_orig_mod", "_fsdp_wrapped_module", "module")


def unwrapped(module: Any) -> nn.Module:
    """Return the module inside its wrappers, so that its names are the author's.

    Wrappers are `DataParallel` and the like, averages of weights, and the results of
    `torch.compile`. For an exported program, its modules are built again from its records.

    Raises:
        TypeError: for anything but a module; the message says what to give.
    """
    if isinstance(module, torch.export.ExportedProgram):
        return _exported(module)
    if isinstance(module, dict):
        raise TypeError(
            "module is a dict: if it is a state dict it has weights and no code. Build the network, call load_state_dict on it "
            "and give that; for a network of the zoo use jaxlens.modelzoo.load(NAME, weights=FILE)."
        )
    if not isinstance(module, nn.Module):
        raise TypeError(f"module={type(module).__name__} must be a torch.nn.Module.")
    while (inside := _inside(module)) is not None:
        module = inside
    return module


def _inside(module: nn.Module) -> nn.Module | None:
    """Return the module that a wrapper runs: its only child, under a wrapper's name; else None."""
    children = dict(module.named_children())
    name = next((name for name in _INSIDE if name in children), None)
    kind = type(module)
    ours = (
        kind.__module__.startswith(("torch.", "accelerate.", "deepspeed.", "lightning", "fairscale."))
        or "Parallel" in kind.__name__
    )
    return children[name] if name is not None and (ours or name != "module") and len(children) == 1 else None


def _exported(program: Any) -> nn.Module:
    """Build the modules of an exported program, under their names."""
    try:
        return torch.export.unflatten(program)
    except Exception as error:
        raise TypeError(
            f"module is an exported program whose modules cannot be built again ({type(error).__name__}). Give the module "
            "that torch.export.export was given."
        ) from error


@contextlib.contextmanager
def prepared(module: nn.Module) -> Iterator[bool]:
    """Put a module into evaluation mode and float32, with gradients on, and restore it on exit.

    Yields: whether any float had another dtype.
    """
    modes = {child: child.training for child in module.modules()}
    kept: list[tuple[dict[str, Any], dict[str, Any]]] = []
    try:
        for child in module.modules():
            child.training = False  # a module may override `eval()`
        module.eval()
        with torch.inference_mode(False), torch.enable_grad():
            kept = _widen(module)
            yield bool(kept)
    finally:
        for now, before in kept:
            now.update(before)
        for child, mode in modes.items():
            child.training = mode


def _widen(module: nn.Module) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Make parameters, buffers and tensors in attributes float32; tied ones stay tied.

    Returns: the places with their former contents.
    """
    made: dict[int, torch.Tensor] = {}
    kept = []
    for child in module.modules():
        places: tuple[Any, ...] = (child._parameters, child._buffers, vars(child))
        for place in places:
            narrow = {name: x for name, x in place.items() if isinstance(x, torch.Tensor) and _other_float(x)}
            if narrow:
                kept.append((place, narrow))
            for name, x in narrow.items():
                if id(x) not in made:
                    wide = x.detach().float()
                    made[id(x)] = nn.Parameter(wide, x.requires_grad) if isinstance(x, nn.Parameter) else wide
                place[name] = made[id(x)]
    return kept


def _other_float(x: torch.Tensor) -> bool:
    return x.is_floating_point() and x.dtype != torch.float32 and not x.is_quantized


class Float32(TorchFunctionMode):
    """Run PyTorch code in float32 where it asks for another float dtype, or for autocast."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, torch.fx.Proxy) for kind in types):  # tracing: the builder leaves casts out
            return func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in ("half", "bfloat16", "double") and args:
            return torch.Tensor.float(args[0])
        args = tuple(map(_as_float32, args))
        kwargs = {key: _as_float32(value) for key, value in (kwargs or {}).items()}
        with torch.autocast("cpu", enabled=False):
            return func(*args, **kwargs)


def _as_float32(value: Any) -> Any:
    return torch.float32 if isinstance(value, torch.dtype) and value.is_floating_point else value
