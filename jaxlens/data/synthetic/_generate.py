"""`generate` and `stimuli`: pictures with labels and parameters, from a seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlens._checks import check_int, suggest
from jaxlens._pytree import pytree
from jaxlens.data.synthetic import _scene
from jaxlens.data.synthetic._classes import CLASSES, KINDS
from jaxlens.data.synthetic._families import FAMILIES, LATTICE, LENGTHS, SIDE

_CHUNK = 16  # pictures drawn by one call of a family's program
_fold = jax.jit(jax.vmap(jax.random.fold_in, (None, 0)))


@pytree
class Pictures:
    """Labelled pictures, and the numbers they were drawn from.

    Attributes:
        images: float32 `[N, H, W, 3]` in [0, 1].
        labels: int32 `[N]`, places in `CLASSES`.
        params: parameter name to float32 `[N]`: lengths in pixels, angles in degrees counter-clockwise from the x axis,
            `x` and `y` the figure's origin from the middle of the picture (y up). NaN where a picture has no such
            parameter.
    """

    images: Any
    labels: Any
    params: Mapping[str, Any]


def generate(key: int | jax.Array, labels: Sequence[int | str] | np.ndarray, size: int | tuple[int, int] = SIDE) -> Pictures:
    """Random pictures of given classes.

    Everything else about a picture is random: place, size, orientation within the class, colours, an uneven ground,
    light from one side, a blot in front of one in three, noise. Edges are anti-aliased.
    Picture i depends on the key, i and its label only.

    Args:
        key: a seed or a `jax.random.key`.
        labels: for each picture its class: a name in `CLASSES`, or its place there.
        size: side of the pictures in pixels, or (height, width). Figures grow with the shorter side.

    Returns: `Pictures`, its arrays NumPy's.

    Raises:
        LookupError: for an unknown class.
        ValueError: for a number that is none, or pictures under 16 pixels.
    """
    places = np.array([_place(label) for label in labels], np.int32)
    height, width = _size(size)
    unit = min(height, width) / SIDE
    images = np.empty((len(places), height, width, 3), np.float32)
    names = sorted({name for place in places for name in (*KINDS[place].ranges, "x", "y")})
    params = {name: np.full(len(places), np.nan, np.float32) for name in names}
    drawn = []
    for family in dict.fromkeys(KINDS[place].family for place in places):
        rows = np.array([i for i, place in enumerate(places) if KINDS[place].family == family])
        for chosen in np.split(rows, range(_CHUNK, len(rows), _CHUNK)):
            filled = np.resize(chosen, _CHUNK)  # a chunk that is not full repeats itself
            dice = _scene.dice(_fold(_key(key), filled.astype(np.uint32)), (height, width))
            values = _values([int(places[i]) for i in filled], dice.params, unit)
            cover, ink, colours = _scene.figures(family, (height, width), values, dice.lattices[:, 2], dice.colours)
            drawn.append((chosen, _scene.paint(cover, ink, colours, dice), values))
    for chosen, pictures, values in drawn:  # all are under way before the first is waited for
        images[chosen] = pictures[: len(chosen)]
        for name, value in values.items():
            params[name][chosen] = value[: len(chosen)]
    return Pictures(images=images, labels=places, params=params)


def stimuli(
    family: str,
    size: int | tuple[int, int] = SIDE,
    *,
    foreground: Sequence[float] = (1.0, 1.0, 1.0),
    second: Sequence[float] = (0.0, 0.0, 0.0),
    background: Sequence[float] = (0.5, 0.5, 0.5),
    key: int | jax.Array = 0,
    **params: Any,
) -> tuple[Float[Array, "n h w 3"], dict[str, Float[Array, " n"]]]:
    """Bare figures with chosen parameters: what circuit analysis sweeps.

    Args:
        family: one of `FAMILIES`, such as "curve".
        size: side in pixels, or (height, width).
        foreground, second, background: RGB in [0, 1]; the second colour is the gaps in an object's texture. Families
            with hues of their own ("contrast", "spot", gradients) do not use them.
        key: of the noise in "fur"; other families have none.
        **params: numbers or arrays `[N]`, each within its meaning (lengths in pixels, angles in degrees counter-clockwise
            from the x axis). Parameters that are not given lie in the middle of their range, `x` and `y` at 0.

    Returns: float32 images `[N, H, W, 3]` in [0, 1], and every parameter as `[N]`.

    Example:
        >>> images, params = stimuli("curve", 64, orientation=np.arange(0, 360, 15), radius=12)
    """
    if family not in FAMILIES:
        raise LookupError(
            f"family={family!r} is not known. Closest: {suggest(str(family), FAMILIES)}. There are: {', '.join(FAMILIES)}."
        )
    height, width = _size(size)
    unit = min(height, width) / SIDE
    middle = {name: (low + high) / 2 for name, (low, high) in FAMILIES[family].ranges.items()} | {"x": 0.0, "y": 0.0}
    values = {name: value * (unit if name in LENGTHS else 1) for name, value in middle.items()}
    for name, value in params.items():
        if name not in values:
            raise TypeError(f"{family!r} has no parameter {name!r}; it has {', '.join(values)}.")
        values[name] = value
    arrays = {name: np.atleast_1d(np.asarray(value, np.float32)) for name, value in values.items()}
    lengths = {len(array) for array in arrays.values()} - {1}
    if len(lengths) > 1 or any(array.ndim > 1 or not np.isfinite(array).all() for array in arrays.values()):
        shapes = {name: array.shape for name, array in arrays.items() if array.size > 1}
        raise ValueError(f"the parameters must be finite numbers, or arrays [N] of one length, but have shapes {shapes}.")
    count = lengths.pop() if lengths else 1
    full = {name: jnp.asarray(np.broadcast_to(array, (count,))) for name, array in arrays.items()}
    colours = tuple(
        _colour(rgb, name)
        for name, rgb in zip(("foreground", "second", "background"), (foreground, second, background), strict=True)
    )
    lattice = jax.random.uniform(_key(key), (count, LATTICE, LATTICE))
    maps = _scene.figures(family, (height, width), full, lattice, jnp.broadcast_to(jnp.stack(colours), (count, 3, 3)))
    return _scene.plain(*maps), full


def _values(places: list[int], dice: Array, unit: float) -> dict[str, Array]:
    """Parameters of pictures of one family, uniform in the ranges of each one's class."""
    wander = FAMILIES[KINDS[places[0]].family].wander
    bounds = [{**KINDS[place].ranges, "x": (-wander, wander), "y": (-wander, wander)} for place in places]
    values = {}
    for i, name in enumerate(bounds[0]):
        low, high = np.array([each[name] for each in bounds], np.float32).T * np.float32(unit if name in LENGTHS else 1)
        values[name] = low + (high - low) * dice[:, i]
    return values


def _place(label: Any) -> int:
    if isinstance(label, str):
        if label not in CLASSES:
            raise LookupError(f"labels: {label!r} is not a class. Closest: {suggest(label, CLASSES)}. `CLASSES` lists all.")
        return CLASSES.index(label)
    return check_int(label, "labels", low=0, high=len(CLASSES) - 1)


def _size(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int | np.integer) else size
    return check_int(height, "size", low=16), check_int(width, "size", low=16)


def _key(key: int | jax.Array) -> jax.Array:
    return jax.random.key(check_int(key, "key", low=0)) if isinstance(key, int | np.integer) else key


def _colour(rgb: Sequence[float], name: str) -> jax.Array:
    array = np.asarray(rgb, np.float32)
    if array.shape != (3,) or not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name}={rgb!r} must be three numbers in [0, 1].")
    return jnp.asarray(array)
