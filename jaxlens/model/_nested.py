"""Sites inside functions that the user transformed.

The transformations are `jax.jit`, `jax.checkpoint`, `jax.vmap` over images, and Flax's of these.
Values cannot leave an inner trace, and JAX does not run again an inner function that it has traced
before. So the forward pass is traced once to a jaxpr in which each site is an equation, `mark`,
that changes nothing. The jaxpr is then run equation by equation: calls that hold marks are opened,
and interceptors act at the marks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.core
import jax.extend.core as jex
from jax.interpreters import ad, batching, mlir

from jaxlens._program import run_equation
from jaxlens.model._sites import Intercepted, reporting_to

# Calls whose body runs once per forward pass. Custom derivatives stay closed, because opening them
# would lose the derivative; the body of a loop runs many times, and a branch perhaps never.
OPENED = frozenset({"jit", "pjit", "closed_call", "core_call", "call", "remat", "remat2", "checkpoint"})

mark = jex.Primitive("jaxlens_site")  # takes a site's output, then its arguments that are arrays
mark.multiple_results = True


@mark.def_impl
def _impl(*arrays: Any, name: str, kind: str) -> Any:
    return arrays


@mark.def_abstract_eval
def _abstract(*avals: Any, name: str, kind: str) -> Any:
    return avals


def _jvp(primals: Any, tangents: Any, **params: Any) -> Any:
    """Drop a mark inside a derivative of the network: a change there would not reach it."""
    return primals, tangents


def _batch(arrays: Any, axes: Any, **params: Any) -> Any:
    """Put the mapped axis first, where the axis of images is."""
    (size,) = {array.shape[axis] for array, axis in zip(arrays, axes, strict=True) if axis is not None}
    front = [batching.bdim_at_front(array, axis, size) for array, axis in zip(arrays, axes, strict=True)]
    return mark.bind(*front, **params), [0] * len(front)


ad.primitive_jvps[mark] = _jvp
batching.primitive_batchers[mark] = _batch
mlir.register_lowering(mark, lambda context, *values, name, kind: list(values))


class Marking:
    """A scope that turns sites into marks."""

    purpose = "marking"

    def run(self, name: str, kind: str, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        with jax.named_scope(name):
            out = fn(*args, **kwargs)
        if not isinstance(out, jax.Array):
            return out
        return mark.bind(out, *(arg for arg in args if isinstance(arg, jax.Array)), name=name, kind=kind)[0]


def run(forward: Callable[..., Any], args: Sequence[Any], interceptors: Sequence[Any], totals: Any) -> Any:
    """Return `forward(*args)`, with interceptors at its sites, also at those in inner calls."""
    with reporting_to(Marking()):
        closed, shape = jax.make_jaxpr(forward, return_shape=True)(*args)
    scope = Intercepted(interceptors, totals)

    def reached(equation: Any, arrays: list[Any]) -> list[Any]:
        name, kind, (out, *inputs) = equation.params["name"], equation.params["kind"], arrays

        def call(*given: Any, **kwargs: Any) -> Any:
            if kwargs or len(given) != len(inputs) or any(new is not old for new, old in zip(given, inputs, strict=True)):
                raise TypeError(
                    f"An interceptor gave layer {name!r} other inputs, but it runs inside a function that the network jits, "
                    "checkpoints or maps: change what the layer outputs, or what the layer before it outputs."
                )
            return out

        return [scope.run(name, kind, call, inputs, {}), *inputs]

    outputs = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args), reached)
    return jax.tree.unflatten(jax.tree.structure(shape), outputs)


def _evaluate(
    jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], reached: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """Run a jaxpr, with `reached(equation, arrays)` for the outputs of a mark."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jex.Literal) else values[atom]

    for equation in jaxpr.eqns:
        arrays, bodies = [read(atom) for atom in equation.invars], list(_bodies(equation))
        if equation.primitive is mark:
            out = reached(equation, arrays)
        elif equation.primitive.name in OPENED and any(map(_holds_mark, bodies)):
            inner = bodies[0]
            body, inner_consts = (inner.jaxpr, inner.consts) if isinstance(inner, jex.ClosedJaxpr) else (inner, ())
            out = _evaluate(body, inner_consts, arrays, reached)
        else:
            out = run_equation(jaxpr, equation, arrays)
        values |= dict(zip(equation.outvars, out, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _bodies(equation: Any) -> Iterator[Any]:
    for value in equation.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, jex.Jaxpr | jex.ClosedJaxpr):
                yield each


def _holds_mark(body: Any) -> bool:
    jaxpr = body.jaxpr if isinstance(body, jex.ClosedJaxpr) else body
    return any(
        equation.primitive is mark or (equation.primitive.name in OPENED and any(map(_holds_mark, _bodies(equation))))
        for equation in jaxpr.eqns
    )
