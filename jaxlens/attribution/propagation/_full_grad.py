"""FullGrad: input x gradient, and what every bias of the network adds."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxlens._program import Program, Step, Value, evaluate, trace
from jaxlens._types import Images
from jaxlens.attribution._batches import in_batches
from jaxlens.attribution._entry import varying
from jaxlens.attribution._maps import resize
from jaxlens.attribution._query import Query, ask
from jaxlens.attribution._registry import method
from jaxlens.attribution._result import Attribution
from jaxlens.attribution._types import TargetLike
from jaxlens.attribution.gradient._saliency import total
from jaxlens.attribution.propagation._steps import relu_of
from jaxlens.model import Model


@method(values="sizes")
def full_grad(
    model: Model, images: Images, target: TargetLike = None, *, absolute: bool = True, batch_size: int | None = None
) -> Attribution:
    """Return `|x d score / d x| + sum over biases b of |b d score / d b|`, a map of the image.

    Srinivas and Fleuret 2019, arXiv:1905.00780. Each bias counts at the place in the picture where
    it is added. A bias is whatever does not depend on the image and is added to something that
    does: those of convolutions and batch norms, and of the normalization of the image. For networks
    of ReLUs and max-pools the signed terms add up to the score exactly; `delta` is what they miss,
    which is more in networks with other nonlinearities.

    Args:
        model, images, target, batch_size: see `jaxlens.attribution`.
        absolute: take absolute values, channel by channel, as in the paper. False keeps signs, and
            then the map adds up to the score.

    Returns: values `[B, H, W, 1]`. Maps of biases are resized bilinearly and keep their sums.
        Biases without a place (after the maps have been averaged) are spread evenly.

    Differs from the paper and pytorch-grad-cam: maps of different layers are not rescaled to [0, 1]
        each before they are added, so that a layer counts as much as it adds to the score.

    Example:
        >>> import jax
        >>> from jaxlens import Model, attribution, modelzoo
        >>> from jaxlens.model import IMAGENET
        >>> model = Model.from_nnx(modelzoo.simple_cnn(), preprocess=IMAGENET, input_size=(24, 32))
        >>> images = jax.random.uniform(jax.random.key(0), (2, 24, 32, 3))
        >>> found = attribution.full_grad(model, images, 3)
        >>> found.values.shape, bool((abs(found.delta) < 1e-4).all())
        ((2, 24, 32, 1), True)
    """
    query = ask(model, images, target)
    query = query.replace(model=model.with_gradient_rule(None))
    values, sums, scores = in_batches(functools.partial(_full, absolute=absolute), query, batch_size)
    return Attribution(values=values, scores=scores, delta=sums - scores, method="full_grad")


@functools.partial(jax.jit, static_argnames=("absolute",))
def _full(query: Query, *, absolute: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the map, the sum of all terms, and the scores."""
    terms, scores = _terms(query)
    return (
        _map(terms, query.images.shape[1:3], absolute),
        jnp.stack([total(term.astype(scores.dtype)) for term in terms]).sum(0),
        scores,
    )


def _terms(query: Query) -> tuple[list[jax.Array], jax.Array]:
    """Return input x gradient, bias x gradient of every bias, and the scores."""
    program = trace(lambda values, query: query.scores(values), (query.values, query), inside=True, derivatives=True)
    rest, added = jax.tree.leaves(query), _biases(program)
    number = {step: i for i, step in enumerate(added)}

    def scores(values: Any, shifts: Any) -> Any:
        biases: list[Any] = [None] * len(added)

        def each(step: Step, read: Callable[[Value], Any]) -> list[Any]:
            now = [read(value) for value in step.operands]
            out = evaluate(step, now)
            if step.relu is not None:
                out = [relu_of(step, read, out[0])]
            if step in added:
                i, sign = added[step]
                biases[number[step]] = sign * jnp.broadcast_to(now[i], out[0].shape)
                out = [out[0] + shifts[number[step]]]
            return out

        return program.walk([values, *rest], each)[0], biases

    zeros = [jnp.zeros(aval.shape, aval.dtype) for aval in (step.equation.outvars[0].aval for step in added)]
    found, back, biases = jax.vjp(scores, query.values, varying(zeros, query.values), has_aux=True)
    gradient, shifts = back(jnp.ones_like(found))
    return [query.values * gradient, *(b * g for b, g in zip(biases, shifts, strict=True))], found


def _biases(program: Program) -> dict[Step, tuple[int, int]]:
    """Return the additions of something that does not depend on the image, on the gradient's path.

    Each comes with the number of that operand and its sign.
    """
    found = {}
    for step in program.on_path:
        constants = [i for i, value in enumerate(step.operands) if not value.depends]
        if step.name in ("add", "sub", "add_any") and len(constants) == 1 and step.relu is None:
            found[step] = (constants[0], -1 if step.name == "sub" and constants[0] == 1 else 1)
    return found


def _map(terms: list[jax.Array], size: Any, absolute: bool) -> jax.Array:
    whole = jnp.zeros((terms[0].shape[0], *size, 1), terms[0].dtype)
    for term in terms:
        term = (jnp.abs(term) if absolute else term).astype(whole.dtype)
        if term.ndim != 4:
            whole += (total(term) / (size[0] * size[1]))[:, None, None, None]
            continue
        flat = term.sum(-1, keepdims=True)
        large = resize(flat, size)
        lost = flat.sum((1, 2, 3), keepdims=True) - large.sum((1, 2, 3), keepdims=True) / (large.size / flat.size)
        whole += large / (large.size / flat.size) + lost / (size[0] * size[1])
    return whole
