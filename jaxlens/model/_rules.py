"""Gradient rules: other backward passes at the ReLUs of any JAX function."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from jaxlens._checks import as_names, check_choice, check_flag
from jaxlens._program import Problem, Program, Window, trace
from jaxlens._pytree import field, pytree
from jaxlens.errors import GradientRuleError
from jaxlens.model._pool_gradients import POOLS, pool_with


@pytree
class GradientRule:
    """What the gradient becomes on its way back through a ReLU, for ONE example.

    `x` is what went into the ReLU, `g` the gradient of a score (to be maximised) at what came out,
    both of any shape; the result is the gradient at `x`. To add a rule, subclass this,
    decorate it with `jaxlens._pytree.pytree` and write the two functions.

    Attributes:
        pools: how gradients pass max-pools, one of `POOLS`.
        allow: what may keep its plain gradient: primitives ("tanh"), jitted functions ("silu") or
            named scopes, that is layers ("LayerNorm_0"), with all that is in them. Name normalisation layers rather than
            their primitives: Flax clamps the variance with `max(v, 0)`, which would count as a ReLU.
    """

    pools: str = field(static=True, default="max")
    allow: tuple[str, ...] = field(static=True, default=())

    def relu(self, x: Float[Array, "..."], g: Float[Array, "..."]) -> Float[Array, "..."]:
        """Through `max(x, 0)`."""
        raise NotImplementedError

    def relu6(self, x: Float[Array, "..."], g: Float[Array, "..."]) -> Float[Array, "..."]:
        """Through `min(max(x, 0), 6)`."""
        raise NotImplementedError


@pytree
class _Standard(GradientRule):
    def relu(self, x: Any, g: Any) -> Any:
        return jnp.where(x > 0, g, 0)

    def relu6(self, x: Any, g: Any) -> Any:
        return jnp.where((x > 0) & (x < 6), g, 0)


@pytree
class _Linearized(GradientRule):
    def relu(self, x: Any, g: Any) -> Any:
        return g

    def relu6(self, x: Any, g: Any) -> Any:
        return g


@pytree
class _Guided(GradientRule):
    def relu(self, x: Any, g: Any) -> Any:
        return jnp.where((x > 0) & (g > 0), g, 0)

    def relu6(self, x: Any, g: Any) -> Any:
        return jnp.where((x > 0) & (x < 6) & (g > 0), g, 0)


@pytree
class _Deconvnet(GradientRule):
    def relu(self, x: Any, g: Any) -> Any:
        return jnp.maximum(g, 0)

    def relu6(self, x: Any, g: Any) -> Any:
        return jnp.maximum(g, 0)


@pytree
class _Redirected(GradientRule):
    active: Bool[Array, ""] = field(rank=0)

    def relu(self, x: Any, g: Any) -> Any:
        return self._choose(jnp.where(x > 0, g, 0), jnp.where((x < 0) & (g < 0), 0, g))

    def relu6(self, x: Any, g: Any) -> Any:
        plain = jnp.where((x > 0) & (x < 6), g, 0)
        return self._choose(plain, jnp.where(((x < 0) & (g < 0)) | ((x > 6) & (g > 0)), 0, g))

    def _choose(self, plain: Any, redirected: Any) -> Any:
        return jnp.where(self.active & ~jnp.any(plain != 0), redirected, plain)


def standard(*, pools: str = "max", allow: Iterable[str] = ()) -> GradientRule:
    """The true gradient, `g * 1[x > 0]`, except at max-pools if asked for.

    Args:
        pools: a max-pool passes its gradient to the one largest value of each window ("max"), which makes maps of gradients
            checkered. "average" passes it as an average-pool of the same windows would. "l2" passes it as `mean(x**2) / (0.01 +
            mean |x|)` over the window would: to large values, but not to one alone. Windows of `lax.reduce_window` and maxima
            over whole axes count as pools; values stay those of the max-pool. Padding is no part of a window.
        allow: see `GradientRule`; of a maximum of several values that is not written as a pool, for instance.

    `apply_rule(standard(), fn)` is `fn` and never raises. With `pools`, other nonlinearities keep their own gradient.
    "average" and "l2" are Lucid's avg_smoothed_maxpool_grad and l2_smoothed_maxpool_grad (optvis/overrides), which every other
    rule takes by the same argument. captum's MaxPool2dRelaxed is "average".
    """
    return _Standard(pools=_pools(pools), allow=as_names(allow, "allow"))


def linearized(*, pools: str = "average", allow: Iterable[str] = ()) -> GradientRule:
    """The gradient of the network without its ReLUs, `g`, and with average-pools for max-pools.

    What a unit would see if everything on the way were linear; weights expanded through several layers (Voss et al. 2021,
    "Visualizing Weights") are this gradient. Lucid's `linearization_overrides`. Values do not change. Pools as in `standard`.
    """
    return _Linearized(pools=_pools(pools), allow=as_names(allow, "allow"))


def guided(*, allow: Iterable[str] = (), pools: str = "max") -> GradientRule:
    """Guided backpropagation, `g * 1[x > 0] * 1[g > 0]`: only evidence for, through active units only.

    Springenberg et al. 2015, arXiv:1412.6806. ReLU6: `1[0 < x < 6]`.

    Differs from captum: every ReLU counts, `jax.nn.relu` and `max(x, 0)` in the middle of a function
    too, where captum replaces `nn.ReLU` modules and leaves the rest silently alone (captum #1082).
    A nonlinearity other than ReLU is an error unless named in `allow` or marked `plain_gradient`.
    """
    return _Guided(pools=_pools(pools), allow=as_names(allow, "allow"))


def deconvnet(*, allow: Iterable[str] = (), pools: str = "max") -> GradientRule:
    """The deconvolutional network's `max(g, 0)`: a ReLU on the way back, and no memory of the way forth.

    Zeiler and Fergus 2014, arXiv:1311.2901, as a gradient rule (Simonyan et al. 2014, arXiv:1312.6034).
    ReLU6: the same. Differs from captum as `guided` does.
    """
    return _Deconvnet(pools=_pools(pools), allow=as_names(allow, "allow"))


def redirected(active: bool | Bool[Array, ""] = True, *, allow: Iterable[str] = (), pools: str = "max") -> GradientRule:
    """Lucid's redirected ReLU: lets an image out of a region where the unit to be maximised is dead.

    Where any element of the plain gradient at this ReLU, of this image, is not zero: the plain gradient. Where
    all of it is zero: `g`, except that a pre-activation below 0 is not pushed lower, so `0` where
    `x < 0` and `g < 0` (ReLU6: nor one above 6 pushed higher, `0` where `x > 6` and `g > 0`).

    Lucid, misc/redirected_relu_grad.py. Lucid minimises a loss, so the sign of `g` is the other way round there. Its step limit
    (rule on for steps 0..16) is `active` here, a leaf: `redirected(step <= 16)` does not retrace. Lucid's relu passes
    the plain gradient at `x == 0`; here it is `g * 1[x > 0]`, that of jax.nn.relu (jnp.maximum gives half at a tie). It matters
    only where a live ReLU sees exact zeros.
    Lucent's variant (0.1 g wherever x < 0, always) is another rule.
    """
    if not isinstance(active, Tracer):
        active = check_flag(active, "active")
    return _Redirected(active=jnp.asarray(active, bool), pools=_pools(pools), allow=as_names(allow, "allow"))


def apply_rule(rule: GradientRule, fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` with the same values and the rule for a backward pass at each ReLU.

    A ReLU counts if it lies between the first argument and the outputs and gradients pass through it: `jax.nn.relu`,
    `relu6`, `max(x, 0)`, `clip(x, 0)`, `clip(x, 0, 6)`, `where(x > 0, x, 0)` and `x * (x > 0)`, jitted, checkpointed or inside
    a custom derivative. Everything else in between must be linear, a pool, marked `plain_gradient`, or in `rule.allow`;
    what is none of these raises. A custom derivative around linear steps and pools is kept. Checkpoints are undone.
    Apply it to the network alone: objectives (a square, a softmax) and image parameterizations go outside.

    Args:
        rule: its leaves may be traced.
        fn: `fn(image, *others)`, pytrees of arrays in, a pytree of arrays out. The image is one example
            (`[1, H, W, C]`; rules such as `redirected` look at all of it): use `jax.vmap` for several.

    Returns:
        A function with the signature of `fn`. It traces `fn` on every call, so call it under `jax.jit`.
        Reverse mode only: `jax.jvp` of a rule is not defined.

    Raises:
        GradientRuleError: when called, if there is no ReLU on the way or something the rule does not know.
    """
    plain, pools = type(rule) is _Standard, rule.pools != "max"
    if plain and not pools:
        return fn

    def relu(kind: str, x: Any, y: Any) -> Any:
        return y if plain else relu_with(kind, rule, x, jax.lax.stop_gradient(y))

    def pool(equation: Any, x: Any, y: Any) -> Any:
        return pool_with((rule.pools, Window.of(equation)), x, jax.lax.stop_gradient(y))

    @functools.wraps(fn)
    def ruled(*args: Any) -> Any:
        program = trace(fn, args, rule.allow, pools)
        problems = [problem for problem in program.problems if problem.pool or not plain]
        found = [*program.pools, *(() if plain else program.relus)] if pools else program.relus
        if problems or not found:
            _refuse(rule, program, problems)
        return program.run(jax.tree.leaves(args), relu, pool)

    return ruled


def count_relus(fn: Callable[..., Any], *args: Any) -> int:
    """How many ReLUs lie between the first argument of `fn(*args)` and its outputs; arrays or `ShapeDtypeStruct`s."""
    return len(trace(fn, args).relus)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def relu_with(kind: str, rule: GradientRule, x: Any, y: Any) -> Any:
    """A ReLU's output `y`, whose gradient at `x` is the rule's."""
    return y


def _relu_forward(kind: str, rule: GradientRule, x: Any, y: Any) -> tuple[Any, Any]:
    return y, (rule, x)


def _relu_backward(kind: str, saved: Any, g: Any) -> tuple[Any, Any, Any]:
    rule, x = saved
    return None, getattr(rule, kind)(x, g), None


relu_with.defvjp(_relu_forward, _relu_backward)


def _refuse(rule: GradientRule, program: Program, problems: Sequence[Problem]) -> NoReturn:
    name = type(rule).__name__.strip("_").lower()
    if not problems and type(rule) is _Standard:
        raise GradientRuleError(
            f"pools={rule.pools!r} found no max-pool between the image and the outputs: nothing would change. Use pools='max'."
        )
    if not problems:
        raise GradientRuleError(
            f"{name} found no ReLU between the image and the outputs, so it would return the plain gradient. "
            "Use standard() if that is what you want; a ReLU must be written as jax.nn.relu, jax.nn.relu6 or jnp.maximum(x, 0)."
        )
    unknown = tuple(dict.fromkeys(problem.primitive for problem in problems))
    found = f"ReLUs only ({len(program.relus)} here)"
    if rule.pools != "max":
        found = f"max-pools ({len(program.pools)} here)" + (f" and {found}" if type(rule) is not _Standard else "")
    raise GradientRuleError(
        f"{name} knows {found}, and would silently pass the plain gradient through:\n"
        f"{_listing(problems)}\n"
        "Write activations as jax.nn.relu or jax.nn.relu6, put jaxlens.model.rules.plain_gradient on functions whose own "
        f"gradient is meant (normalisations, pools), or accept all of these with {name}(allow={unknown}); "
        "allow also takes the layers named above.",
        unknown,
    )


def _listing(problems: Sequence[Problem]) -> str:
    lines = []
    for (primitive, why), count in Counter((problem.primitive, problem.why) for problem in problems).items():
        places = list(dict.fromkeys(p.where for p in problems if (p.primitive, p.why) == (primitive, why) and p.where))
        where = f", in {', '.join(places[:4])}{f' and {len(places) - 4} more' * (len(places) > 4)}" if places else ""
        lines.append(f"  {primitive}{f' ({why})' if why else ''}: {count}x{where}")
    return "\n".join(lines)


def _pools(pools: str) -> str:
    check_choice(pools, "pools", POOLS)
    return pools
