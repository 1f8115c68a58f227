"""Gradient rules: replace the backward pass at the ReLUs of any JAX function."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxlens._checks import as_names, check_choice, check_flag, is_known
from jaxlens._program import Problem, Program, Window, trace
from jaxlens._pytree import field, pytree
from jaxlens.errors import GradientRuleError
from jaxlens.model._pool_gradients import POOLS, pool_with


@pytree
class GradientRule:
    """What the gradient becomes on its way back through a ReLU, for ONE example.

    `x` is the ReLU's input and `g` the gradient of a score (to be maximized) at its output, both of
    any shape; the result is the gradient at `x`. To add a rule, subclass this, decorate it with
    `jaxlens._pytree.pytree` and write the two functions.

    Attributes:
        pools: how gradients pass max-pools, one of `POOLS`.
        allow: what may keep its plain gradient, with everything inside it: primitives ("tanh"),
            jitted functions ("silu") or named scopes, that is layers ("LayerNorm_0"). Name
            normalization layers rather than their primitives: Flax clamps the variance with
            `max(v, 0)`, which would count as a ReLU.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlens._pytree import pytree
        >>> from jaxlens.model import rules
        >>> @pytree
        ... class HalfGradient(rules.GradientRule):
        ...     def relu(self, x, g):
        ...         return g / 2
        ...     def relu6(self, x, g):
        ...         return g / 2
        >>> HalfGradient().relu(jnp.array([-1.0, 1.0]), jnp.array([4.0, 4.0])).tolist()
        [2.0, 2.0]
    """

    pools: str = field(static=True, default="max")
    allow: tuple[str, ...] = field(static=True, default=())

    def relu(self, x: Float[Array, "..."], g: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the gradient at `x` of `max(x, 0)`."""
        raise NotImplementedError

    def relu6(self, x: Float[Array, "..."], g: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the gradient at `x` of `min(max(x, 0), 6)`."""
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
    """Return the rule of the true gradient, `g * 1[x > 0]`; `pools` can change it at max-pools.

    Values stay those of the max-pool. Windows of `lax.reduce_window` and maxima over whole axes
    count as pools; padding is no part of a window. `apply_rule(standard(), fn)` is `fn` and never
    raises. With `pools`, other nonlinearities keep their own gradient.

    Args:
        pools: "max" passes a pool's gradient to the one largest value of each window, which makes
            maps of gradients checkered. "average" passes it as an average-pool of the same windows
            would. "l2" passes it as `mean(x**2) / (0.01 + mean |x|)` over the window would: to
            large values, but not to one alone. Every other rule takes the same argument.
        allow: see `GradientRule`. Name here, for instance, a maximum of several values that is not
            written as a pool.

    "average" and "l2" are Lucid's avg_smoothed_maxpool_grad and l2_smoothed_maxpool_grad
    (optvis/overrides). captum's MaxPool2dRelaxed is "average".

    Example:
        >>> import jax
        >>> from jaxlens import Model, modelzoo
        >>> from jaxlens.model import IMAGENET, rules
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> smooth = model.with_gradient_rule(rules.standard(pools="average"))
        >>> jax.grad(lambda images: smooth(images)[:, 3].sum())(images).shape
        (2, 24, 32, 3)
    """
    return _Standard(pools=_pools(pools), allow=as_names(allow, "allow"))


def linearized(*, pools: str = "average", allow: Iterable[str] = ()) -> GradientRule:
    """Return the rule of a network without ReLUs, `g`, and with average-pools for max-pools.

    The gradient is that of a unit if everything on the way to it were linear. Weights expanded
    through several layers (Voss et al. 2021, "Visualizing Weights") are this gradient. Values do
    not change. Lucid's `linearization_overrides`.

    Args:
        pools: see `standard`.
        allow: see `GradientRule`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxlens import Model
        >>> from jaxlens.model import Preprocess, rules
        >>> model = Model.from_function(
        ...     lambda weights, x: jax.nn.relu(x - 0.5).sum((1, 2)) @ weights,
        ...     jnp.array([1.0, -1.0, 2.0]), preprocess=Preprocess(), input_size=(1, 1),
        ... )
        >>> image = jnp.array([[[[0.75, 0.75, 0.25]]]])
        >>> ruled = model.with_gradient_rule(rules.linearized(pools="max"))
        >>> jax.grad(lambda image: ruled(image).sum())(image).ravel().tolist()
        [1.0, -1.0, 2.0]
    """
    return _Linearized(pools=_pools(pools), allow=as_names(allow, "allow"))


def guided(*, allow: Iterable[str] = (), pools: str = "max") -> GradientRule:
    """Return the rule of guided backpropagation, `g * 1[x > 0] * 1[g > 0]`.

    It passes positive evidence only, and through active units only. Springenberg et al. 2015,
    arXiv:1412.6806. For ReLU6, `1[0 < x < 6]` takes the place of `1[x > 0]`.

    Differs from captum: every ReLU counts, also `jax.nn.relu` and `max(x, 0)` in the middle of a
    function; captum replaces `nn.ReLU` modules and leaves the rest silently alone (captum #1082).
    A nonlinearity other than ReLU is an error unless named in `allow` or marked `plain_gradient`.

    Args:
        allow: see `GradientRule`.
        pools: see `standard`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxlens import Model
        >>> from jaxlens.model import Preprocess, rules
        >>> model = Model.from_function(
        ...     lambda weights, x: jax.nn.relu(x - 0.5).sum((1, 2)) @ weights,
        ...     jnp.array([1.0, -1.0, 2.0]), preprocess=Preprocess(), input_size=(1, 1),
        ... )
        >>> image = jnp.array([[[[0.75, 0.75, 0.25]]]])
        >>> ruled = model.with_gradient_rule(rules.guided())
        >>> jax.grad(lambda image: ruled(image).sum())(image).ravel().tolist()
        [1.0, 0.0, 0.0]
    """
    return _Guided(pools=_pools(pools), allow=as_names(allow, "allow"))


def deconvnet(*, allow: Iterable[str] = (), pools: str = "max") -> GradientRule:
    """Return the rule of the deconvolutional network, `max(g, 0)`, whatever the ReLU's input was.

    Zeiler and Fergus 2014, arXiv:1311.2901, as a gradient rule (Simonyan et al. 2014,
    arXiv:1312.6034). ReLU6: the same. Differs from captum as `guided` does.

    Args:
        allow: see `GradientRule`.
        pools: see `standard`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxlens import Model
        >>> from jaxlens.model import Preprocess, rules
        >>> model = Model.from_function(
        ...     lambda weights, x: jax.nn.relu(x - 0.5).sum((1, 2)) @ weights,
        ...     jnp.array([1.0, -1.0, 2.0]), preprocess=Preprocess(), input_size=(1, 1),
        ... )
        >>> image = jnp.array([[[[0.75, 0.75, 0.25]]]])
        >>> ruled = model.with_gradient_rule(rules.deconvnet())
        >>> jax.grad(lambda image: ruled(image).sum())(image).ravel().tolist()
        [1.0, 0.0, 2.0]
    """
    return _Deconvnet(pools=_pools(pools), allow=as_names(allow, "allow"))


def redirected(active: bool | Bool[Array, ""] = True, *, allow: Iterable[str] = (), pools: str = "max") -> GradientRule:
    """Return Lucid's redirected ReLU, which leads an image out of a region where a unit is dead.

    If any element of the plain gradient at a ReLU, for one image, is not zero, the rule is the
    plain gradient. If all of them are zero, it is `g`, except that no pre-activation below 0 is
    pushed lower: `0` where `x < 0` and `g < 0`. ReLU6: nor is one above 6 pushed higher, `0` where
    `x > 6` and `g > 0`.

    Args:
        active: whether the rule is on, a leaf: `redirected(step <= 16)` does not retrace. It is
            Lucid's step limit (on for steps 0..16).
        allow: see `GradientRule`.
        pools: see `standard`.

    Lucid, misc/redirected_relu_grad.py. Lucid minimizes a loss, so its `g` has the opposite sign.
    Lucid's relu passes the plain gradient at `x == 0`; here it is `g * 1[x > 0]`, as in jax.nn.relu
    (jnp.maximum gives half at a tie). The difference shows only where a live ReLU sees exact zeros.
    Lucent's variant (0.1 g wherever x < 0, always) is another rule.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxlens import Model
        >>> from jaxlens.model import Preprocess, rules
        >>> model = Model.from_function(
        ...     lambda weights, x: jax.nn.relu(x - 0.5).sum((1, 2)) @ weights,
        ...     jnp.array([1.0, -1.0, 2.0]), preprocess=Preprocess(), input_size=(1, 1),
        ... )
        >>> image = jnp.array([[[[0.25, 0.25, 0.25]]]])  # every unit is dead
        >>> ruled = model.with_gradient_rule(rules.redirected())
        >>> jax.grad(lambda image: ruled(image).sum())(image).ravel().tolist()
        [1.0, 0.0, 2.0]
    """
    if is_known(active):
        active = check_flag(active, "active")
    return _Redirected(active=jnp.asarray(active, bool), pools=_pools(pools), allow=as_names(allow, "allow"))


def apply_rule(rule: GradientRule, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return `fn` with the same values, and the rule as the backward pass at each ReLU.

    A ReLU counts if it lies between the first argument and the outputs and gradients pass through
    it: `jax.nn.relu`, `relu6`, `max(x, 0)`, `clip(x, 0)`, `clip(x, 0, 6)`, `where(x > 0, x, 0)` and
    `x * (x > 0)`, jitted, checkpointed or inside a custom derivative. Everything else in between
    must be linear, a pool, marked `plain_gradient`, or in `rule.allow`; anything else raises. A
    custom derivative around linear steps and pools is kept. Checkpoints are undone. Apply a rule to
    the network alone: objectives (a square, a softmax) and image parameterizations go outside.

    Args:
        rule: its leaves may be traced.
        fn: `fn(image, *others)`, pytrees of arrays in, a pytree of arrays out. The image is one
            example, `[1, H, W, C]`, because rules such as `redirected` look at all of it; use
            `jax.vmap` for several.

    Returns:
        A function with the signature of `fn`. It traces `fn` on every call, so call it under
        `jax.jit`. Reverse mode only: `jax.jvp` of a rule is not defined.

    Raises:
        GradientRuleError: when called, if no ReLU is on the way, or something is that the rule does
            not know.
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def relu_with(kind: str, rule: GradientRule, x: Any, y: Any) -> Any:
    """Return a ReLU's output `y`, with the rule's gradient at `x`."""
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
        f"gradient is meant (normalizations, pools), or accept all of these with {name}(allow={unknown}); "
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
