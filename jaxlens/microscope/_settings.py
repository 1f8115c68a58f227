"""The settings of a render: all that the pixels of a tile depend on besides its neuron.

They are numbers, and hashes of what is computed.
"""

import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from jaxlens._checks import SEEDS, check_int
from jaxlens.model import Model
from jaxlens.model._architecture import Architecture
from jaxlens.model._run import run_network
from jaxlens.optvis.param._each import Each


def settings_of(
    model: Model,
    *,
    size: Any = 128,
    steps: Any = 512,
    seed: Any = 0,
    param: Any = None,
    transforms: Any = None,
    fixed_image_size: Any = None,
    redirect_steps: Any = None,
    compute_dtype: Any = None,
) -> dict[str, Any]:
    """Return the settings of a render as JSON values.

    Two renders with equal settings give the same pictures of the same neurons.

    Raises:
        ValueError, TypeError: For values that `render` refuses too, and for functions and objects
            that another process could not tell apart.
    """
    return {
        "network": computation(model),
        "weights": weights_hash(model),
        "preprocess": told(model.preprocess),
        "gradient_rule": None if model.rule is None else fingerprint(model.rule, "model.rule"),
        "input_size": list(model.input_size),
        "steps": check_int(steps, "steps", low=0, high=2**32 - 1),
        "seed": check_int(seed, "seed", low=0, high=SEEDS - 1),
        "size": None if param is not None else _sides(size, "size"),
        "param": None if param is None else _param_hash(param),
        "transforms": None if transforms is None else _transforms_hash(transforms),
        "fixed_image_size": None if fixed_image_size is None else _sides(fixed_image_size, "fixed_image_size"),
        "redirect_steps": None if redirect_steps is None else check_int(redirect_steps, "redirect_steps", low=0),
        "compute_dtype": None if compute_dtype is None else _dtype(compute_dtype),
    }


def computation(model: Model) -> str:
    """Return a hash of the network's program and of its gradient, from images in [0, 1] to logits.

    It covers the options of the network's class, the code of its preprocessing and all arrays that
    they close over. It does not depend on the weights.
    """
    return _computation(model.architecture)


@functools.lru_cache(maxsize=64)
def _computation(architecture: Architecture) -> str:
    def total(images: jax.Array, params: Any) -> jax.Array:
        found = run_network(architecture, params, None, images, ("logits",))
        return jnp.asarray(found["logits"], jnp.float32).sum()

    return _hash_of(jax.make_jaxpr(jax.grad(total))(architecture.image(), architecture.params()))


def fingerprint(tree: Any, name: str) -> str:
    """Return a hash of a pytree's structure and values that is the same in every process.

    Raises:
        ValueError: If the tree holds functions or objects that another process could not tell
            apart.
    """
    leaves, structure = jax.tree.flatten(tree)
    digest = hashlib.sha256(str(structure).encode())
    if " at 0x" in str(structure) or any(callable(leaf) for leaf in leaves):
        raise ValueError(
            f"{name}={tree!r} holds a function or object without a name of its own, so a folder cannot remember it. "
            "Use jaxlens' own, or dataclasses with a repr that tells their values."
        )
    _add(digest, leaves)
    return digest.hexdigest()[:16]


def weights_hash(model: Model) -> str:
    """Return a hash of all weights."""
    return fingerprint(jax.tree.leaves(model.params), "params")


def told(function: Any) -> str:
    """Return the repr of a function, or its name if the repr differs from process to process."""
    text = repr(function)
    return getattr(function, "__qualname__", type(function).__name__) if " at 0x" in text else text


def _param_hash(param: Any) -> str:
    """Return a hash of what a parameterization computes, and of its numbers."""
    if isinstance(param, Each):
        raise ValueError(
            "param.each has one parameterization for each task of one render, but a job renders its neurons in several: "
            "give one for all, or render the neurons with jaxlens.optvis.render."
        )
    if not all(hasattr(param, name) for name in ("init", "to_image", "shape")):
        raise TypeError(f"param={param!r} must be a parameterization, such as param.image(128).")
    program = jax.make_jaxpr(lambda param, key: param.to_image(param.init(key)))(param, jax.random.key(0))
    digest = hashlib.sha256(_hash_of(program).encode())
    _add(digest, jax.tree.leaves(param))
    return digest.hexdigest()[:16]


def _transforms_hash(transforms: Any) -> str:
    """Return a hash of a list of transforms."""
    if isinstance(transforms, str) or not isinstance(transforms, Sequence):
        raise TypeError(f"transforms={transforms!r} must be a list of transforms, such as [transform.jitter(4)].")
    return fingerprint(list(transforms), "transforms")


def _sides(value: Any, name: str) -> list[int]:
    """Return height and width, from one side or both."""
    pair = value if isinstance(value, tuple | list) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name}={value!r} must be a side in pixels, or (height, width).")
    return [check_int(side, name, low=1) for side in pair]


def _dtype(value: Any) -> str:
    """Return the name of a dtype."""
    try:
        return jnp.dtype(value).name
    except TypeError as error:
        raise TypeError(f"compute_dtype={value!r} must name a float type, such as 'bfloat16'.") from error


def _hash_of(program: jex.ClosedJaxpr) -> str:
    """Return a hash of a traced function: its operations, and the arrays that it closes over."""
    # Addresses in memory differ from process to process.
    digest = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", str(program.jaxpr)).encode())
    _add(digest, _constants(program))
    return digest.hexdigest()[:16]


def _constants(program: jex.ClosedJaxpr) -> Iterator[Any]:
    """Yield the arrays that a program and the programs inside it close over."""
    yield from program.consts
    inner = [program.jaxpr]
    while inner:
        for equation in inner.pop().eqns:
            for value in equation.params.values():
                for each in value if isinstance(value, tuple | list) else (value,):
                    if isinstance(each, jex.ClosedJaxpr):
                        yield from _constants(each)
                    elif isinstance(each, jex.Jaxpr):
                        inner.append(each)


def _add(digest: Any, leaves: Any) -> None:
    """Add dtype, shape and bytes of each leaf to a digest."""
    for leaf in leaves:
        array = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
        digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
