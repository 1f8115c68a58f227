"""Work in batches: as many network evaluations at a time as memory should hold, whatever their number."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from tqdm import tqdm

from jaxlens._checks import check_int
from jaxlens.attribution._entry import varying

# Evaluations at a time, by default. On a CPU more gain nothing; an accelerator needs many to be busy.
CPU_BATCH, ACCELERATOR_BATCH = 8, 128
MAX_SAMPLES = 10**7  # per image
PATIENCE = 2.0  # seconds before a progress bar shows

Step = Callable[[Any, Any, jax.Array, jax.Array], Any]


def size_of_batches(batch_size: int | None, count: int) -> int:
    """How many of `count` evaluations to make at a time."""
    if batch_size is None:
        batch_size = CPU_BATCH if jax.default_backend() == "cpu" else ACCELERATOR_BATCH
    return min(check_int(batch_size, "batch_size", low=1), count)


def check_samples(value: Any, name: str = "samples", *, low: int = 1) -> int:
    """A number of evaluations per image, such as one can wait for."""
    return check_int(value, name, low=low, high=MAX_SAMPLES)


def in_batches(fn: Callable[..., Any], query: Any, batch_size: int | None, *more: Any) -> Any:
    """`fn(query, *more)`, `batch_size` images of the query at a time (None: all); the arrays in `more` are cut with them."""
    count = query.count
    size = count if batch_size is None else size_of_batches(batch_size, count)
    pieces = [slice(start, start + size) for start in range(0, count, size)]
    parts = [fn(query.at(piece), *(x[piece] if isinstance(x, jax.Array) else x for x in more)) for piece in pieces]
    return jax.tree.map(lambda *each: jnp.concatenate(each), *parts)


def accumulate(step: Step, context: Any, state: Any, count: int, batch_size: int | None, progress: bool, label: str) -> Any:
    """`state = step(context, state, index, alive)` until each of `0..count - 1` was in `index` once.

    `index` holds `batch_size` numbers; those beyond the end repeat the last one and are not `alive`. Memory depends on
    `batch_size` and not on `count`, and another `count` compiles nothing anew. Where values are known, Python drives the loop
    and shows a progress bar; inside `jit` or `vmap` it is one loop in the program.
    """
    if count >= 2**31:
        raise ValueError(f"{label} would take {count} evaluations, but 2**31 - 1 are the most: give fewer images at a time.")
    size = size_of_batches(batch_size, count)

    def numbers(start: Any) -> tuple[jax.Array, jax.Array]:
        index = start + jnp.arange(size)
        return jnp.minimum(index, count - 1), index < count

    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((context, state))):
        body = lambda i, state: step(context, state, *numbers(i * size))  # noqa: E731
        return jax.lax.fori_loop(0, -(-count // size), body, varying(state, (context, state)))
    starts = range(0, count, size)
    for start in tqdm(starts, desc=label, delay=PATIENCE, disable=not progress, dynamic_ncols=True, leave=False):
        state = step(context, state, *numbers(start))
        jax.block_until_ready(state)  # a bar that runs ahead of the work tells nothing
    return state
