"""Work in batches: as many network evaluations at a time as memory should hold."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from tqdm import tqdm

from jaxlens._checks import check_int, is_known
from jaxlens.attribution._entry import varying

# Evaluations at a time by default. On a CPU more gain nothing; an accelerator needs many.
CPU_BATCH, ACCELERATOR_BATCH = 8, 128
MAX_SAMPLES = 10**7  # per image
PATIENCE = 2.0  # seconds before a progress bar shows

Step = Callable[[Any, Any, jax.Array, jax.Array, jax.Array, Any], Any]


def size_of_batches(batch_size: int | None, count: int) -> int:
    """Return how many of `count` evaluations to make at a time."""
    if batch_size is None:
        batch_size = CPU_BATCH if jax.default_backend() == "cpu" else ACCELERATOR_BATCH
    return min(check_int(batch_size, "batch_size", low=1), count)


def check_samples(value: Any, name: str = "samples", *, low: int = 1) -> int:
    """Return a number of evaluations per image, no more than one can wait for."""
    return check_int(value, name, low=low, high=MAX_SAMPLES)


def in_batches(fn: Callable[..., Any], query: Any, batch_size: int | None, *more: Any) -> Any:
    """Return `fn(query, *more)`, computed `batch_size` images at a time (None: all at once).

    The arrays in `more` have an axis of images and are cut with the query's.
    """
    count = query.count
    size = count if batch_size is None else size_of_batches(batch_size, count)
    pieces = [slice(start, start + size) for start in range(0, count, size)]
    parts = [fn(query.at(piece), *(x[piece] if isinstance(x, jax.Array) else x for x in more)) for piece in pieces]
    return jax.tree.map(lambda *each: jnp.concatenate(each), *parts)


def accumulate(
    step: Step,
    query: Any,
    work: Any,
    state: Any,
    samples: int,
    *,
    batch_size: int | None,
    progress: bool,
    label: str,
    by_sample: bool = False,
    compiled: bool = True,
) -> Any:
    """Repeat `state = step(query, work, image, sample, alive, state)` for all samples of images.

    A step makes `batch_size` evaluations: `image` and `sample` hold their numbers, and its query is
    of those images. The last batch is filled up with repetitions of the last evaluation, which are
    not `alive`. Memory depends on `batch_size` and not on `samples`, and another number of samples
    compiles nothing anew. Where values are known, Python drives the loop and shows a progress bar;
    inside `jit` or `vmap` it is one loop in the program.

    Args:
        step: a function of the module, not a new one at each call: each is compiled once.
        query: a question about several images, with `count` and `at`.
        work: a pytree with what else a step needs; each step gets all of it.
        state: what the first step gets.
        samples: how many for each image.
        batch_size: evaluations at a time; None is the default of the device.
        progress: show a bar when it takes longer than two seconds.
        label: the name of the work in the bar and in the error.
        by_sample: take all images of a sample before the next sample, instead of all samples of an
            image before the next image.
        compiled: False for a step that is no function of arrays, such as one that calls a user's
            function.

    Returns: the last state.
    """
    count = query.count * samples
    if count >= 2**31:
        raise ValueError(f"{label} would take {count} evaluations, but 2**31 - 1 are the most: give fewer images at a time.")
    size = size_of_batches(batch_size, count)
    advance = functools.partial(_compiled if compiled else _advance, step, size, by_sample, query, work, samples)
    if not is_known(*jax.tree.leaves((query, work, state))):
        body = lambda i, state: advance(i * size, state)  # noqa: E731
        return jax.lax.fori_loop(0, -(-count // size), body, varying(state, (query, work, state)))
    starts = range(0, count, size)
    for start in tqdm(starts, desc=label, delay=PATIENCE, disable=not progress, dynamic_ncols=True, leave=False):
        state = advance(start, state)
        jax.block_until_ready(state)  # a bar that runs ahead of the work tells nothing
    return state


def _advance(step: Step, size: int, by_sample: bool, query: Any, work: Any, samples: Any, start: Any, state: Any) -> Any:
    """Make one step of `size` evaluations, from number `start` on."""
    index, count = start + jnp.arange(size), query.count * samples
    number, alive = jnp.minimum(index, count - 1), index < count
    inner = query.count if by_sample else samples
    outer, inner = number // inner, number % inner
    image, sample = (inner, outer) if by_sample else (outer, inner)
    return step(query.at(image), work, image, sample, alive, state)


_compiled = jax.jit(_advance, static_argnums=(0, 1, 2))
