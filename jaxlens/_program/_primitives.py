"""The JAX primitives that a gradient rule understands, and the patterns that form a ReLU.

The lists hold what is allowed: linear or structural primitives, pools, and products with one factor
that does not depend on the image. Any other primitive, also one that JAX adds later, is a problem.
"""

from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxlens._checks import is_known
from jaxlens._program._steps import ReLU, Step, Value


def _set(names: str) -> frozenset[str]:
    return frozenset(names.split())


# Linear in all operands taken together.
LINEAR = _set("""
    add add_any sub neg reduce_sum reduce_window_sum cumsum reshape transpose broadcast_in_dim squeeze expand_dims
    concatenate pad slice split tile rev convert_element_type reduce_precision copy copy_p name optimization_barrier
    device_put sharding_constraint layout_constraint reshard mesh_cast pvary pcast stop_gradient fft real imag complex conj
    psum psum_invariant all_gather all_to_all ppermute reduce_scatter stack unstack
""")
# Piecewise linear, each output a copy of one input: their own gradient is right under every rule.
POOLING = _set("""
    reduce_max reduce_min cummax cummin reduce_window_max reduce_window_min select_and_gather_add select_and_scatter_add
    sort top_k approx_top_k
""")
MAX_POOLS = _set("reduce_window_max reduce_max")  # those that rules with `pools` replace
LOOKUPS = _set("gather dynamic_slice")  # in one operand, at places that the others give
PICKING = LOOKUPS | _set("select_n reduce reduce_window")  # may pick by the image, as a pool does
# Linear in each operand: at most one may depend on the image.
BILINEAR = _set("mul dot_general conv_general_dilated ragged_dot ragged_dot_general")
# Linear in the operands at these positions; the others (indices, divisors) may not depend on the
# image.
LINEAR_IN = {
    "div": (0,),
    "gather": (0,),
    "dynamic_slice": (0,),
    "dynamic_update_slice": (0, 1),
    "scatter": (0, 2),
    "scatter-add": (0, 2),
    "scatter_add": (0, 2),
    "scatter-sub": (0, 2),
    "scatter_sub": (0, 2),
    "scatter_mul": (0,),
    "scatter-mul": (0,),
    "triangular_solve": (1,),
}
# Output element i is a function of element i of each operand.
ELEMENTWISE = _set("""
    add add_any sub mul div rem pow max min neg abs sign floor ceil round exp exp2 log log1p expm1 sin cos tan asin acos atan
    atan2 sinh cosh tanh asinh acosh atanh logistic erf erfc erf_inv lgamma digamma sqrt rsqrt cbrt square integer_pow select_n
    clamp convert_element_type reduce_precision copy copy_p name stop_gradient is_finite and or not xor eq ne lt le gt ge
    nextafter
""")
# What an index may go through between where it is found and where it is used.
_INDICES = _set("""
    argmax argmin reshape broadcast_in_dim squeeze expand_dims transpose concatenate convert_element_type add sub lt ge select_n
    clamp min max stack
""")
_SAME = _set("copy copy_p name convert_element_type reduce_precision pvary pcast")
_SAME_BOOL = _set("broadcast_in_dim reshape squeeze expand_dims reduce_or reduce_and convert_element_type")
_SAME_CONSTANT = _SAME | _set("broadcast_in_dim reshape squeeze expand_dims stop_gradient")


def judge(step: Step) -> ReLU | str | None:
    """Return a ReLU, or why a step is not understood ("" if its name says it), or None if it is."""
    name, operands = step.name, step.operands
    if name in ("max", "min", "clamp", "select_n"):
        relu = {"max": _from_max, "min": _from_min, "clamp": _from_clamp, "select_n": _from_select}[name](operands)
        return relu or _piecewise_problem(name, operands)
    varying = [i for i, value in enumerate(operands) if value.depends]
    if name == "convert_element_type" and not operands[0].inexact:
        return "a float made from an image-dependent integer or bool"
    if name in LINEAR or name in POOLING or (name in LOOKUPS and operands[0].depends):
        return None
    if name in BILINEAR:
        masked = _from_mask(operands) if name == "mul" else None
        return masked or (None if len(varying) == 1 else "two image-dependent operands")
    if name in LINEAR_IN:
        wrong = [i for i in varying if i not in LINEAR_IN[name]]
        return f"operand {wrong[0]} depends on the image" if wrong else None
    return ""


def _from_max(operands: tuple[Value, ...]) -> ReLU | None:
    x, bound = _split(operands)
    if bound is None or constant(bound) != 0:
        return None
    capped = _original(x).maker  # max(min(x, 6), 0)
    if capped is not None and capped.name == "min":
        inner, cap = _split(capped.operands)
        if cap is not None and constant(cap) == 6:
            return ReLU("relu6", inner)
    return ReLU("relu", x)


def _from_min(operands: tuple[Value, ...]) -> ReLU | None:
    x, bound = _split(operands)  # min(max(x, 0), 6)
    made = _original(x).maker
    if bound is not None and constant(bound) == 6 and made is not None and made.relu is not None and made.relu.kind == "relu":
        return ReLU("relu6", made.relu.source)
    return None


def _from_clamp(operands: tuple[Value, ...]) -> ReLU | None:
    low, x, high = operands
    if constant(low) != 0 or constant(high) not in (6, np.inf):
        return None
    return ReLU("relu6" if constant(high) == 6 else "relu", x)


def _from_select(operands: tuple[Value, ...]) -> ReLU | None:
    tested, positive = _sign_test(operands[0])  # where(x > 0, x, 0); select_n lists the False case first
    if tested is None or len(operands) != 3:
        return None
    kept, dropped = (operands[2], operands[1]) if positive else (operands[1], operands[2])
    return ReLU("relu", kept) if _original(kept) is _original(tested) and constant(dropped) == 0 else None


def _from_mask(operands: tuple[Value, ...]) -> ReLU | None:
    for x, mask in (operands, operands[::-1]):  # x * (x > 0)
        if mask.maker is not None and mask.maker.name == "convert_element_type":
            tested, positive = _sign_test(mask.maker.operands[0])
            if tested is not None and positive and _original(tested) is _original(x):
                return ReLU("relu", x)
    return None


def _piecewise_problem(name: str, operands: tuple[Value, ...]) -> str | None:
    if name == "select_n":
        if not operands[0].depends or tests_nan(operands[0]):
            return None
        extremum = chosen_extremum(operands)
        return _piecewise_problem(extremum, operands[1:]) if extremum else "an image-dependent condition that is not a ReLU"
    if name == "clamp":
        unbounded = constant(operands[0]) == -np.inf and constant(operands[2]) == np.inf
        return None if unbounded else "bounds other than (0, 6) and (0, inf)"
    bound = _split(operands)[1]
    if bound is not None:
        return None if constant(bound) == {"max": -np.inf, "min": np.inf}[name] else "a bound that is not a ReLU's"
    return "two functions of the same value: an activation, not a pool" if pointwise_of(operands) else None


def chosen_extremum(operands: Sequence[Value]) -> Literal["max", "min"] | None:
    """Return what `where(a > b, a, b)` is, given the operands of its `select_n`."""
    tested = operands[0].maker
    if tested is None or tested.name not in ("gt", "ge", "lt", "le") or len(operands) != 3:
        return None
    a, b = (_original(value) for value in tested.operands)
    otherwise, chosen = (_original(value) for value in operands[1:])
    if (a, b) == (chosen, otherwise):
        return "max" if tested.name in ("gt", "ge") else "min"
    return ("min" if tested.name in ("gt", "ge") else "max") if (a, b) == (otherwise, chosen) else None


def place_of_extremum(step: Step) -> str | None:
    """Return "argmax" or "argmin" if a lookup takes the largest or smallest of its own values."""
    frontier, makers = {value for value in step.operands[1:] if value.depends}, set[Step]()
    while frontier:
        made = frontier.pop().maker
        if made is None or made.name not in _INDICES:
            return None
        if made.name in ("argmax", "argmin"):
            makers.add(made)
        else:
            frontier |= {value for value in made.operands if value.depends}
    found = makers.pop() if len(makers) == 1 else None
    return found.name if found and _unshaped(found.operands[0]) is _unshaped(step.operands[0]) else None


def _unshaped(value: Value) -> Value:
    """Return the value before its axes were changed or it was copied."""
    while value.maker is not None and value.maker.name in ("reshape", "transpose", "squeeze", "expand_dims", "copy", "copy_p"):
        value = value.maker.operands[0]
    return value


def tests_nan(value: Value) -> bool:
    """Return whether a bool is `x != x`, or its `any` or `all`; it may depend on the image."""
    while value.maker is not None and value.maker.name in _SAME_BOOL:
        value = value.maker.operands[0]
    made = value.maker
    return made is not None and made.name == "ne" and _original(made.operands[0]) is _original(made.operands[1])


def picks(step: Step) -> bool:
    """Return whether a step takes one of several image-dependent values.

    An activation such as a leaky ReLU does not: its operands are functions of one value.
    """
    if step.name in POOLING or step.name in ("reduce", "reduce_window"):
        return True
    if step.name in LOOKUPS:
        return any(value.depends for value in step.operands[1:])
    varying = [value for value in step.operands if value.depends and value.inexact]
    return step.name in ("max", "min", "select_n") and len(set(varying)) > 1 and pointwise_of(varying) is None


def pointwise_of(values: Sequence[Value]) -> tuple[Value, tuple[Step, ...]] | None:
    """Return the nearest value of which all of these are elementwise functions, if there is one.

    With it come the steps from there to them, in order. If only one of the values depends on the
    image, it is that one.
    """
    frontier, passed = {value for value in values if value.depends}, list[Step]()
    while len(frontier) > 1 or not all(value.inexact for value in frontier):
        latest = max(frontier, key=lambda value: value.maker.depth if value.maker else 0)
        made = latest.maker
        if made is None or not elementwise(made):
            return None
        passed.append(made)
        frontier = (frontier - {latest}) | {value for value in made.operands if value.depends}
    return (frontier.pop(), tuple(passed[::-1])) if frontier else None


def elementwise(step: Step) -> bool:
    """Return whether each output element depends only on the input elements at its place."""
    shape = step.equation.outvars[0].aval.shape
    varying = [atom.aval for atom, value in zip(step.equation.invars, step.operands, strict=True) if value.depends]
    return (step.pointwise or step.name in ELEMENTWISE) and all(
        aval.shape == shape and not jnp.issubdtype(aval.dtype, jnp.complexfloating) for aval in varying
    )


def _split(operands: tuple[Value, ...]) -> tuple[Value, Value | None]:
    """Return the image-dependent operand and the other, or None if both depend on the image."""
    a, b = operands
    return (a, b) if not b.depends else (b, None if a.depends else a)


def _sign_test(value: Value) -> tuple[Value | None, bool]:
    """Return (x, True) for a bool `x > 0` or `x >= 0`, and (x, False) for `x < 0` or `x <= 0`."""
    made = value.maker
    if made is None or made.name not in ("gt", "ge", "lt", "le"):
        return None, False
    a, b = made.operands
    if constant(b) == 0:
        return a, made.name in ("gt", "ge")
    return (b, made.name in ("lt", "le")) if constant(a) == 0 else (None, False)


def _original(value: Value) -> Value:
    """Return the value before copies and changes of float type."""
    while value.maker is not None and value.maker.name in _SAME and value.maker.operands[0].inexact:
        value = value.maker.operands[0]
    return value


def constant(value: Value) -> float | None:
    """Return the number that every element of a value is known to be, or None."""
    if value.depends:
        return None
    if value.maker is not None:
        return constant(value.maker.operands[0]) if value.maker.name in _SAME_CONSTANT else None
    return _uniform(value.array)


def _uniform(array: Any) -> float | None:
    if array is None or not is_known(array) or not getattr(array, "is_fully_addressable", True):
        return None
    if not (jnp.issubdtype(array.dtype, np.number) or array.dtype == bool) or not array.size:
        return None
    first = np.asarray(array).flat[0]
    return float(first) if np.isrealobj(first) and (np.asarray(array) == first).all() else None
