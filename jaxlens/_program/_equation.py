"""Run one equation of a jaxpr alone."""

from collections.abc import Sequence
from typing import Any

import jax.core
import jax.extend.core as jex


def run_equation(jaxpr: Any, equation: Any, arrays: Sequence[Any]) -> list[Any]:
    """Return the results of one equation: JAX evaluates a jaxpr of this equation alone."""
    reads = {var: array for var, array in zip(equation.invars, arrays, strict=True) if not isinstance(var, jex.Literal)}
    single = jaxpr.replace(
        constvars=[], invars=list(reads), outvars=equation.outvars, eqns=[equation], effects=equation.effects
    )
    return jax.core.eval_jaxpr(single, (), *reads.values())
