"""Trace a function to a flat list of steps: what depends on the image, and where its ReLUs are.

Calls are inlined (jit, checkpoint, closed_call, and custom derivatives that hold a ReLU), so that a
pattern such as `where(x > 0, x, 0)` is seen whole although its parts lie in different jaxprs.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from jaxlens._program._equation import run_equation
from jaxlens._program._marks import MARK, OPERATORS_WANTED
from jaxlens._program._primitives import MAX_POOLS, PICKING, constant, elementwise, judge, picks
from jaxlens._program._steps import Problem, ReLU, Step, Value, join_paths
from jaxlens._program._windows import Window

_INLINED = frozenset({"jit", "pjit", "closed_call", "core_call", "call", "remat", "remat2", "checkpoint", "composite"})
_CUSTOM = frozenset({"custom_jvp_call", "custom_vjp_call"})


@dataclasses.dataclass(frozen=True)
class TraceOptions:
    """Options of `trace`.

    Attributes:
        allow: primitives, functions or layers that keep their own gradient.
        pools: find the max-pools that a rule is to replace.
        inside: inline every function that depends on the image, marked functions included.
        derivatives: with `inside`, do not inline custom derivatives of elementwise functions of one
            value.
    """

    allow: frozenset[str]
    pools: bool
    inside: bool = False
    derivatives: bool = False


@dataclasses.dataclass(eq=False)
class Program:
    """The steps that an output needs, in order, and those of them that gradients pass through."""

    inputs: list[Value]
    outputs: list[Value]
    steps: list[Step]
    on_path: list[Step]
    tree: Any

    @property
    def relus(self) -> list[Step]:
        return [step for step in self.on_path if step.relu is not None]

    @property
    def pools(self) -> list[Step]:
        return [step for step in self.on_path if step.pool]

    @property
    def problems(self) -> list[Problem]:
        return [problem for step in self.on_path for problem in step.problems]

    def run(
        self, leaves: Sequence[Any], relu: Callable[[str, Any, Any], Any], pool: Callable[[Any, Any, Any], Any] | None = None
    ) -> Any:
        """Evaluate the program, with other functions for ReLUs and max-pools.

        On the gradient's path, `relu(kind, x, y)` takes the place of every ReLU `y` of `x`, and
        `pool(equation, x, y)` that of every max-pool that the rule asked for.
        """
        replaced, pooled = set(self.relus), set(self.pools)

        def each(step: Step, read: Callable[[Value], Any]) -> list[Any]:
            out = evaluate(step, [read(value) for value in step.operands])
            if step in replaced:
                return [relu(step.relu.kind, read(step.relu.source), out[0])]  # type: ignore[union-attr]
            if step in pooled and pool is not None:
                return [pool(step.equation, read(step.operands[0]), out[0])]
            return out

        return self.walk(leaves, each)[0]

    def walk(
        self, leaves: Sequence[Any], each: Callable[[Step, Callable[[Value], Any]], list[Any]]
    ) -> tuple[Any, Callable[[Value], Any]]:
        """Evaluate the program, with `each(step, read)` for the results of a step.

        Returns: the output of the function, and a function that reads any value of the program.
        """
        given, made = dict(zip(self.inputs, leaves, strict=True)), dict[Step, list[Any]]()

        def read(value: Value) -> Any:
            return made[value.maker][value.index] if value.maker else given.get(value, value.array)

        for step in self.steps:
            with jax.named_scope(step.path) if step.path else contextlib.nullcontext():
                made[step] = each(step, read)
        return jax.tree.unflatten(self.tree, [read(value) for value in self.outputs]), read


def trace(
    fn: Callable[..., Any],
    args: Sequence[Any],
    allow: Sequence[str] = (),
    pools: bool = False,
    inside: bool = False,
    derivatives: bool = False,
) -> Program:
    """Trace `fn(*args)`, of which the leaves of the first argument are the image.

    `TraceOptions` describes the options. With `inside`, only loops stay closed; with `derivatives`,
    custom derivatives of functions of one value too, whose derivative is right where that of their
    parts is not.
    """
    with OPERATORS_WANTED(pools or inside):
        closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*args)
    images = len(jax.tree.leaves(args[0]))
    inputs = [Value(i < images, _inexact(var)) for i, var in enumerate(closed.jaxpr.invars)]
    steps, outputs = _flatten(
        closed.jaxpr, closed.consts, inputs, "", TraceOptions(frozenset(allow), pools, inside, derivatives)
    )
    steps = _needed(steps, outputs)
    return Program(inputs, outputs, steps, _gradient_path(steps, outputs), jax.tree.structure(shapes))


def _flatten(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value], path: str, options: TraceOptions
) -> tuple[list[Step], list[Value]]:
    env = dict(zip(jaxpr.invars, inputs, strict=True))
    env |= {var: Value(False, _inexact(var), array=array) for var, array in zip(jaxpr.constvars, consts, strict=True)}

    def read(atom: Any) -> Value:
        if isinstance(atom, jex.Literal):
            dtype = getattr(atom.aval, "dtype", None)
            return Value(False, _inexact(atom), array=np.asarray(atom.val, dtype))
        return env[atom]

    steps: list[Step] = []
    for equation in jaxpr.eqns:
        step = Step(equation, jaxpr, tuple(read(atom) for atom in equation.invars), path)
        name, depends = _name(equation), any(value.depends for value in step.operands)
        kept = not options.inside and (name.startswith(MARK) or not options.allow.isdisjoint((name, *step.where.split("/"))))
        if options.pools and depends and name.startswith(MARK) and "max_pool" in name and name not in options.allow:
            step.problems = (Problem(name, "marked as keeping its own gradient", step.where, pool=True),)
        body = None if kept else _body(step, depends)
        if body is not None:
            inner, outputs = _inline(step, body, name, options)
            path_inside = _gradient_path(inner, outputs)
            step.pointwise = options.derivatives and step.name in _CUSTOM and _pointwise(step, inner, outputs)
            if not step.pointwise and _opened(step, path_inside, options):
                steps += inner
                env |= dict(zip(equation.outvars, outputs, strict=True))
                continue
            step.problems = tuple(problem for part in path_inside for problem in part.problems)
        if depends and not kept and step.name not in _CUSTOM and any(map(_inexact, equation.outvars)):
            _assess(step, options)
        steps.append(step)
        env |= {var: Value(depends, _inexact(var), step, i) for i, var in enumerate(equation.outvars)}
    return steps, [read(atom) for atom in jaxpr.outvars]


def _body(step: Step, depends: bool) -> tuple[Any, tuple[Value, ...]] | None:
    """Return the jaxpr of a call, or of a branch that is known to be taken, and its arguments."""
    params = step.equation.params
    if step.name in _INLINED or (step.name in _CUSTOM and depends):
        return (params["jaxpr"] if "jaxpr" in params else params["call_jaxpr"]), step.operands
    if step.name == "cond" and (branch := constant(step.operands[0])) is not None:
        branches = params["branches"]
        return branches[min(max(int(branch), 0), len(branches) - 1)], step.operands[1:]
    return None


def _opened(step: Step, path_inside: list[Step], options: TraceOptions) -> bool:
    """Return whether the body replaces the call.

    A custom derivative stays closed if no rule would change its inside.
    """
    # the largest logit inside a softmax is no pool
    seen = any(part.relu or (part.pool and "window" in part.name) for part in path_inside)
    return step.name not in _CUSTOM or options.inside or seen


def _pointwise(step: Step, inner: list[Step], outputs: list[Value]) -> bool:
    """Return whether a custom derivative is of an elementwise function of one value, no ReLU."""
    if len(outputs) != 1 or sum(value.depends for value in step.operands) != 1:
        return False
    steps = [part for part in _needed(inner, outputs) if any(value.depends for value in part.operands)]
    return bool(steps) and all(elementwise(part) and not part.relu for part in steps)


def _inline(
    step: Step, body: tuple[Any, tuple[Value, ...]], name: str, options: TraceOptions
) -> tuple[list[Step], list[Value]]:
    jaxpr, consts = _open(body[0])
    return _flatten(jaxpr, consts, body[1], join_paths(step.where, "" if "<" in name else name), options)


def _assess(step: Step, options: TraceOptions) -> None:
    """Set what `judge` finds in a step; for a loop, what it finds in the body."""
    if step.name == "scan":
        problems = _loop_problems(step, [step.equation.params["jaxpr"]], step.operands, _carried(step.equation), options)
    elif step.name == "cond" and not step.operands[0].depends:
        problems = _loop_problems(step, step.equation.params["branches"], step.operands[1:], (0, 0), options)
    elif step.name == "cond":
        problems = [Problem(step.name, "whose course depends on the image; write it with `jnp.where`", step.where, pool=True)]
    elif step.name == "while":
        problems = [Problem(step.name, "a loop; write it as a Python loop", step.where, pool=True)]
    else:
        found = judge(step)
        if isinstance(found, ReLU):
            step.relu = found
            return
        problems = [] if found is None else [Problem(step.name, found, step.where, pool=step.name in PICKING and picks(step))]
        step.pool = options.pools and step.name in MAX_POOLS
        if options.pools and not step.pool and found is None and picks(step):
            problems = [Problem(step.name, "perhaps a pool, but not written as one", step.where, pool=True)]
    step.problems = tuple(problem for problem in problems if problem.primitive not in options.allow)


def _carried(equation: Any) -> tuple[int, int]:
    """Return which operands a scan carries on: the first of them, and how many.

    Operands that it runs over, and results that it collects, have one axis more outside its body
    than inside.
    """
    body = _open(equation.params["jaxpr"])[0]

    def same(outside: Sequence[Any], inside: Sequence[Any]) -> int:
        return sum(len(a.aval.shape) == len(b.aval.shape) for a, b in zip(outside, inside, strict=True))

    carry = same(equation.outvars, body.outvars)
    return same(equation.invars, body.invars) - carry, carry


def _loop_problems(
    step: Step, bodies: Sequence[Any], operands: Sequence[Value], carried: tuple[int, int], options: TraceOptions
) -> list[Problem]:
    """Return a problem if a loop or branch, which stays closed, holds what a rule would change."""
    first, carry = carried
    depends = [value.depends for value in operands]
    found: dict[str, None] = {}
    pool = False
    for body, consts in map(_open, bodies):
        while True:
            inputs = [Value(flag, _inexact(var)) for flag, var in zip(depends, body.invars, strict=True)]
            steps, outputs = _flatten(body, consts, inputs, step.where, options)
            grown = [i for i in range(carry) if outputs[i].depends and not depends[first + i]]
            for i in grown:
                depends[first + i] = True
            if not grown:
                break
        on_path = _gradient_path(steps, outputs)
        found |= dict.fromkeys(["a ReLU"] * any(part.relu for part in on_path))
        found |= dict.fromkeys(["a max-pool"] * any(part.pool for part in on_path))
        found |= dict.fromkeys(problem.primitive for part in on_path for problem in part.problems)
        pool |= any(part.pool or any(problem.pool for problem in part.problems) for part in on_path)
    why = f"its body holds {', '.join(found)}; write it as a Python loop or `if`"
    return [Problem(step.name, why, step.where, pool)] if found else []


def _needed(steps: list[Step], outputs: Sequence[Value]) -> list[Step]:
    """Return the steps that an output or an effect (`jax.debug.print`) needs."""
    wanted, kept = {value.maker for value in outputs}, []
    for step in reversed(steps):
        if step in wanted or step.equation.effects:
            kept.append(step)
            wanted.update(value.maker for value in step.operands)
    return kept[::-1]


def _gradient_path(steps: list[Step], outputs: Sequence[Value]) -> list[Step]:
    """Return the steps through which a gradient of the outputs reaches the image."""
    return way_back(
        steps,
        outputs,
        lambda step: (step.relu.source,) if step.relu else () if step.name == "stop_gradient" else step.operands,
    )


def way_back(steps: list[Step], outputs: Sequence[Value], sources: Callable[[Step], Sequence[Value]]) -> list[Step]:
    """Return the steps on the way from the outputs back to the image, from a step to `sources`."""
    wanted, path = _carriers(outputs), []
    for step in reversed(steps):
        if step in wanted:
            path.append(step)
            wanted |= _carriers(sources(step))
    return path[::-1]


def _carriers(values: Sequence[Value]) -> set[Step | None]:
    return {value.maker for value in values if value.depends and value.inexact}


def evaluate(step: Step, arrays: list[Any]) -> list[Any]:
    """Return the results of one step: JAX evaluates a jaxpr of this equation alone.

    A maximum over dilated windows, which has no gradient in JAX, is computed by `Window.largest`.
    """
    equation = step.equation
    if step.name in ("reduce_window_max", "reduce_window_min") and (window := Window.of(equation)).dilated:
        sign = 1 if step.name == "reduce_window_max" else -1
        return [sign * window.largest(sign * arrays[0])]
    return run_equation(step.jaxpr, equation, arrays)


def _name(equation: Any) -> str:
    """Return the name of the function that a call primitive calls, or ""."""
    if equation.primitive.name in _INLINED:
        return str(equation.params.get("name", ""))
    if equation.primitive.name not in _CUSTOM:
        return ""
    info = getattr(_open(equation.params["call_jaxpr"])[0], "debug_info", None)
    return str(getattr(info, "func_src_info", None) or "").split(" at ")[0]


def _open(jaxpr: Any) -> tuple[Any, Sequence[Any]]:
    return (jaxpr.jaxpr, jaxpr.consts) if isinstance(jaxpr, jex.ClosedJaxpr) else (jaxpr, ())


def _inexact(atom: Any) -> bool:
    return jnp.issubdtype(getattr(atom.aval, "dtype", np.dtype(bool)), jnp.inexact)
