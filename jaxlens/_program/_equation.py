"""One equation of a jaxpr, run alone."""

from collections.abc import Sequence
from typing import Any

import jax.core
import jax.extend.core as jex


def run_equation(jaxpr: Any, equation: Any, arrays: Sequence[Any]) -> list[Any]:
    """The results of one equation of a jaxpr, by JAX's own evaluator on a jaxpr of just this equation."""
    reads = {var: array for var, array in zip(equation.invars, arrays, strict=True) if not isinstance(var, jex.Literal)}
    single = jaxpr.replace(
        constvars=[], invars=list(reads), outvars=equation.outvars, eqns=[equation], effects=equation.effects
    )
    return jax.core.eval_jaxpr(single, (), *reads.values())
