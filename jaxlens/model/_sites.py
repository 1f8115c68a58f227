"""Sites: the named places in a forward pass where an interceptor may look or step in."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from jaxlens._checks import shortened
from jaxlens._program import operators_wanted


@dataclasses.dataclass(frozen=True)
class Site:
    """One call of one layer: its `name` (as in `Model.layers`) and its `kind` (class name).

    Example:
        >>> from jaxlens.model import Site
        >>> Site("layer1.0.relu", "ReLU").kind
        'ReLU'
    """

    name: str
    kind: str = ""


@runtime_checkable
class Interceptor(Protocol):
    """A function that is called at every site of a forward pass and returns the site's output.

    `call(*args)` runs the layer. An interceptor that returns its result observes; one that
    returns something else replaces, ablates, patches or perturbs.

    Example:
        >>> import jax
        >>> from jaxlens import Model, activations, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> def halve(site, call, *args, **kwargs):
        ...     out = call(*args, **kwargs)
        ...     return out / 2 if site.name == "relu1" else out
        >>> halved = activations(model, images, ["relu1"], [halve])["relu1"]
        >>> bool((halved == activations(model, images, ["relu1"])["relu1"] / 2).all())
        True
    """

    def __call__(self, site: Site, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any: ...


@runtime_checkable
class MovingInterceptor(Interceptor, Protocol):
    """An interceptor with values of its own for a layer's output, such as `interceptors.perturb`.

    Under a gradient rule, gradients must reach its leaves as they reach the image, and one image
    at a time. The leaves of interceptors without `batch_axes` are constants there.
    """

    def batch_axes(self) -> int | None:
        """Return 0 if every leaf has one entry per image, None if all images share the leaves."""
        ...


class NestedSite(Exception):
    """A site runs inside an inner trace (`jit`, `scan`, ...), which its values cannot leave."""


@runtime_checkable
class Scope(Protocol):
    """What the sites of a running forward pass report to; `purpose` names what for."""

    purpose: str

    def run(self, name: str, kind: str, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any: ...


class Intercepted:
    """The scope that runs interceptors and counts the calls of each layer."""

    purpose = "intercepting"

    def __init__(self, interceptors: Sequence[Interceptor], totals: Mapping[str, int]):
        self.interceptors = tuple(interceptors)
        self.totals = totals
        self.calls: dict[str, int] = {}
        self.trace = jex.get_opaque_trace_state()

    def run(self, name: str, kind: str, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if jex.get_opaque_trace_state() != self.trace:
            raise NestedSite(name)
        number = self.calls.get(name, 0)
        self.calls[name] = number + 1
        label = name if self.totals.get(name, 1) == 1 else f"{name}@{number}"
        outputs: list[Any] = []
        fn = _recorded(fn, outputs)
        for interceptor in self.interceptors:
            fn = _intercepted(interceptor, Site(label, kind), fn)
        with jax.named_scope(label):  # profiles and gradient-rule errors name the layer
            out = fn(*args, **kwargs)
            if outputs and out is not outputs[-1]:
                _check_output(out, outputs[-1], label)
            return _computed(out)


class _Prefixed:
    """A scope that puts a prefix before the names of its sites."""

    def __init__(self, scope: Scope, prefix: str):
        self.scope, self.prefix = scope, prefix
        self.purpose = f"{scope.purpose} {prefix}"

    def run(self, name: str, kind: str, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return self.scope.run(f"{self.prefix}.{name}", kind, fn, args, kwargs)


# The ends of every forward pass, and Lucid's word for the last one. A layer of such a name gets an
# underscore, even if it ends in underscores already, so that no two names become one.
RESERVED = frozenset({"input", "logits", "labels"})


def _computed(out: Any) -> Any:
    """Return the output of a layer behind a barrier where XLA must not fuse it with what reads it.

    In bfloat16, XLA's compiler for CPUs (jaxlib 0.12) fuses layers with the sum or mean that
    follows them. Where two ReLUs meet in one such kernel, it returns uninitialized memory, often
    NaN. A barrier between layers keeps them apart.
    """
    if operators_wanted() or jax.default_backend() != "cpu":
        return out
    half = lambda x: isinstance(x, jax.Array) and x.dtype == jnp.bfloat16  # noqa: E731
    return jax.tree.map(lambda x: jax.lax.optimization_barrier(x) if half(x) else x, out)


def _recorded(call: Callable[..., Any], outputs: list[Any]) -> Callable[..., Any]:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        outputs.append(call(*args, **kwargs))
        return outputs[-1]

    return recorded


def _check_output(out: Any, own: Any, layer: str) -> None:
    """Raise if an interceptor returned no array, or one of another shape than the layer's own."""
    if not isinstance(own, jax.Array):
        return
    if not hasattr(out, "shape") or not hasattr(out, "dtype"):
        raise TypeError(f"An interceptor returned {shortened(out)} for layer {layer!r}, which outputs an array: return that.")
    if tuple(out.shape) != tuple(own.shape):
        raise ValueError(
            f"An interceptor returned shape {tuple(out.shape)} for layer {layer!r}, which outputs {tuple(own.shape)}."
        )


def _intercepted(interceptor: Interceptor, where: Site, call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: interceptor(where, call, *args, **kwargs)


# What a `site` inside the running forward pass reports to. It is a context variable, as in Flax
# Linen: set for the length of one traced call, and never visible outside it.
_SCOPE: ContextVar[Scope | None] = ContextVar("jaxlens_scope", default=None)

_INSIDE: ContextVar[str | None] = ContextVar("jaxlens_inside", default=None)

# Part of the key of JAX's caches: JAX traces a function that a user jitted anew where sites mean
# something else, and does not find that trace again outside. Its values are a few words, so that
# the caches stay small.
_TRACED_FOR = jax.make_user_context(default_value=None)


def site(name: str, fn: Callable[..., Any], *, kind: str = "") -> Callable[..., Any]:
    """Return `fn` as a named layer, whose output can be read, ablated, patched or rendered.

    `jaxlens.site("relu1", jax.nn.relu)(x)` is `jax.nn.relu(x)`, and "relu1" is a layer of every
    `jaxlens.Model` whose forward pass runs it. Flax modules are sites already. Use `site` in plain
    JAX functions, and for functional steps inside modules.

    Args:
        name: the layer's name. A name that is used more than once in a forward pass gives
            `name@0`, `name@1`, ...; the bare name then means the last call, as a PyTorch hook would
            see it. "input", "logits" and "labels" are the ends of every Model: a function or
            module of such a name gets an underscore, `input_`.
        fn: any function. It may run inside `jax.jit`, `jax.checkpoint` and a `jax.vmap` over
            images. Values cannot leave `lax.scan`, `cond`, `while_loop`, another `vmap`, custom
            derivatives or `jax.grad`: inside these it is no layer.
        kind: shown in `Model.layers`. Default: the function's name.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxlens
        >>> def forward(params, images):
        ...     hidden = jaxlens.site("relu1", jax.nn.relu)(images.mean((1, 2)) @ params)
        ...     return hidden @ params.T
        >>> model = jaxlens.Model.from_function(
        ...     forward, jnp.ones((3, 5)), preprocess=jaxlens.model.Preprocess(), input_size=(8, 8)
        ... )
        >>> list(model.layers)
        ['input', 'relu1', 'logits']
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"name={name!r} must be the layer's name, such as 'relu1'.")
    if not isinstance(kind, str | None):
        raise TypeError(f"kind={shortened(kind)} must be text, such as 'relu'.")
    if name.rstrip("_") in RESERVED:
        name += "_"
    return _site(name, fn, kind or getattr(fn, "__name__", type(fn).__name__))


def end(name: str, *, kind: str) -> Callable[[jax.Array], jax.Array]:
    """Return one of the two ends of a forward pass as a site; no other site can have its name."""
    return _site(name, lambda x: x, kind)


def _site(name: str, fn: Callable[..., Any], kind: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        scope = _SCOPE.get()
        if scope is None:
            return fn(*args, **kwargs)
        token = _INSIDE.set(name)
        try:
            return scope.run(name, kind, fn, args, kwargs)
        finally:
            _INSIDE.reset(token)

    return call


def inside() -> str | None:
    """Return the name of the innermost site that is running, or None."""
    return _INSIDE.get()


@contextlib.contextmanager
def reporting_to(scope: Scope) -> Iterator[None]:
    """Make the sites inside the `with` report to `scope`.

    JAX traces functions that the user jitted anew for each purpose.
    """
    token = _SCOPE.set(scope)
    try:
        with _TRACED_FOR(scope.purpose):
            yield
    finally:
        _SCOPE.reset(token)


@contextlib.contextmanager
def intercepting(interceptors: Sequence[Interceptor], totals: Mapping[str, int]) -> Iterator[None]:
    """Make the sites inside the `with` pass through `interceptors`, the first one innermost.

    Raises:
        NestedSite: where a site runs inside an inner trace; see `_nested`.
    """
    with reporting_to(Intercepted(interceptors, totals)):
        yield


@contextlib.contextmanager
def prefixed(prefix: str) -> Iterator[None]:
    """Put `prefix` and a dot before the names of the sites inside the `with`."""
    scope = _SCOPE.get()
    if scope is None:
        yield
        return
    with reporting_to(_Prefixed(scope, prefix)):
        yield
