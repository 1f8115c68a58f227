"""`generate` and `stimuli`: pictures with labels and parameters, from a seed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxlens._checks import as_key, check_int, one_line, suggest
from jaxlens._pytree import pytree
from jaxlens._types import Seed, Size, Text
from jaxlens.data.synthetic import _scene
from jaxlens.data.synthetic._classes import CLASSES, KINDS
from jaxlens.data.synthetic._families import FAMILIES, LATTICE, LENGTHS, SIDE

if TYPE_CHECKING:
    Numbers = ArrayLike | Sequence[float]
    Labels = Sequence[str | int] | np.ndarray | jax.Array
else:  # checked by hand
    Numbers = Labels = Any

_SIDE = 1 << 13  # of a picture, in pixels
_MOST = 1e6  # the largest parameter: figures beyond are out of the picture
_CHUNK = 16  # pictures drawn by one call of a family's program
_fold = jax.jit(jax.vmap(jax.random.fold_in, (None, 0)))


@pytree
class Pictures:
    """Labeled pictures, and the numbers they were drawn from.

    Attributes:
        images: float32 `[N, H, W, 3]` in [0, 1].
        labels: int32 `[N]`, places in `CLASSES`.
        params: parameter name to float32 `[N]`. Lengths are in pixels, angles in degrees
            counter-clockwise from the x axis; `x` and `y` are the figure's origin, from the middle
            of the picture (y up). The value is NaN where a picture has no such parameter.

    Example:
        >>> from jaxlens.data import synthetic
        >>> found = synthetic.generate(0, ["circle"] * 3, size=32)
        >>> found.images.shape, found.labels.shape, sorted(found.params)
        ((3, 32, 32, 3), (3,), ['radius', 'width', 'x', 'y'])
    """

    images: Any
    labels: Any
    params: Mapping[str, Any]


def generate(seed: Seed, labels: Labels, size: Size = SIDE) -> Pictures:
    """Draw random pictures of given classes.

    All but the class is random: place, size, orientation within the class, colors, an uneven
    ground, light from one side, a blot in front of one in three, noise. Edges are anti-aliased.
    Picture i depends on the seed, i and its label only.

    Args:
        seed: an int or a JAX key.
        labels: for each picture its class: a name in `CLASSES`, or its place there.
        size: side of the pictures in pixels, or (height, width). Figures grow with the shorter
            side.

    Returns: `Pictures` with NumPy arrays.

    Raises:
        LookupError: for an unknown class.
        ValueError: for a number that is no class, no labels, or pictures under 16 pixels.
        TypeError: for labels that are neither names nor numbers.

    Example:
        >>> from jaxlens.data import synthetic
        >>> found = synthetic.generate(0, ["bar-0", "bar-90"], size=(32, 48))
        >>> found.images.shape, [synthetic.CLASSES[label] for label in found.labels]
        ((2, 32, 48, 3), ['bar-0', 'bar-90'])
    """
    if isinstance(labels, str | bytes) or not isinstance(labels, Sequence | np.ndarray | jax.Array) or np.ndim(labels) != 1:
        raise TypeError(f"labels={one_line(repr(labels), 60)} must be a list of classes, one for each picture.")
    if not len(labels):
        raise ValueError("labels is empty: give the class of one picture at least.")
    places, key = np.array([_place(label) for label in labels], np.int32), as_key(seed)
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
            dice = _scene.dice(_fold(key, filled.astype(np.uint32)), (height, width))
            values = _values([int(places[i]) for i in filled], dice.params, unit)
            cover, ink, colours = _scene.figures(family, (height, width), values, dice.lattices[:, 2], dice.colours)
            drawn.append((chosen, _scene.paint(cover, ink, colours, dice), values))
    for chosen, pictures, values in drawn:  # all are under way before the first is waited for
        images[chosen] = pictures[: len(chosen)]
        for name, value in values.items():
            params[name][chosen] = value[: len(chosen)]
    return Pictures(images=images, labels=places, params=params)


def stimuli(
    family: Text,
    size: Size = SIDE,
    *,
    foreground: Numbers = (1.0, 1.0, 1.0),
    second: Numbers = (0.0, 0.0, 0.0),
    background: Numbers = (0.5, 0.5, 0.5),
    seed: Seed = 0,
    **params: Numbers,
) -> tuple[Float[Array, "n h w 3"], dict[str, Float[Array, " n"]]]:
    """Draw bare figures with chosen parameters, such as a tuning curve sweeps.

    Args:
        family: one of `FAMILIES`, such as "curve".
        size: side in pixels, or (height, width).
        foreground, second, background: RGB in [0, 1]. The second color fills the gaps in an
            object's texture. Families with hues of their own ("contrast", "spot", gradients) do not
            use them.
        seed: of the noise in "fur"; other families have none.
        **params: numbers or arrays `[N]`: lengths above 0 in pixels, angles in degrees
            counter-clockwise from the x axis; all within a million. A parameter that is not given
            lies in the middle of its range, `x` and `y` at 0.

    Returns: float32 images `[N, H, W, 3]` in [0, 1], and every parameter as `[N]`.

    Example:
        >>> import numpy as np
        >>> from jaxlens.data import synthetic
        >>> angles = np.arange(0, 360, 15)
        >>> images, params = synthetic.stimuli("curve", 32, orientation=angles, radius=12)
        >>> images.shape, sorted(params)
        ((24, 32, 32, 3), ['extent', 'orientation', 'radius', 'width', 'x', 'y'])
    """
    if not isinstance(family, str) or family not in FAMILIES:
        raise LookupError(
            f"family={one_line(repr(family), 60)} is not known. Closest: {suggest(family, FAMILIES)}. "
            f"There are: {', '.join(FAMILIES)}."
        )
    height, width = _size(size)
    unit = min(height, width) / SIDE
    middle = {name: (low + high) / 2 for name, (low, high) in FAMILIES[family].ranges.items()} | {"x": 0.0, "y": 0.0}
    values: dict[str, Any] = {name: value * (unit if name in LENGTHS else 1) for name, value in middle.items()}
    for name, value in params.items():
        if name not in values:
            raise TypeError(f"{family!r} has no parameter {name!r}; it has {', '.join(values)}.")
        values[name] = value
    arrays = {name: _numbers(value, name) for name, value in values.items()}
    lengths = {len(array) for array in arrays.values()} - {1}
    if len(lengths) > 1:
        shapes = {name: array.shape for name, array in arrays.items() if array.size > 1}
        raise ValueError(f"the parameters must be finite numbers, or arrays [N] of one length, but have shapes {shapes}.")
    count = lengths.pop() if lengths else 1
    full = {name: jnp.asarray(np.broadcast_to(array, (count,))) for name, array in arrays.items()}
    colours = tuple(
        _colour(rgb, name)
        for name, rgb in zip(("foreground", "second", "background"), (foreground, second, background), strict=True)
    )
    lattice = jax.random.uniform(as_key(seed), (count, LATTICE, LATTICE))
    maps = _scene.figures(family, (height, width), full, lattice, jnp.broadcast_to(jnp.stack(colours), (count, 3, 3)))
    return _scene.plain(*maps), full


def _values(places: list[int], dice: Array, unit: float) -> dict[str, Array]:
    """Return parameters of pictures of one family, uniform in the ranges of each class."""
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


def _size(size: Any) -> tuple[int, int]:
    pair = size if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2:
        raise ValueError(f"size={one_line(repr(size), 60)} must be an integer or (height, width).")
    height, width = check_int(pair[0], "size", low=16), check_int(pair[1], "size", low=16)
    if max(height, width) > _SIDE:
        raise ValueError(f"size={one_line(repr(size), 60)} must be of at most {_SIDE} pixels a side.")
    return height, width


def _numbers(value: Any, name: str) -> np.ndarray:
    """Return a parameter of figures as `[N]`, or `[1]` for one number."""
    array = _real(value, name, "must be finite numbers, or an array [N] of them")
    lengths = name in LENGTHS - {"x", "y"}
    if array.ndim > 1 or not array.size or not (np.abs(array) <= _MOST).all() or (lengths and not (array > 0).all()):
        legal = f"of at most {_MOST:g}{', above 0' if lengths else ''}"
        raise ValueError(f"{name}={one_line(repr(value), 60)} must be finite numbers {legal}, or an array [N] of them.")
    return np.atleast_1d(array)


def _colour(rgb: Any, name: str) -> jax.Array:
    array = _real(rgb, name, "must be three numbers in [0, 1]")
    if array.shape != (3,) or not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name}={one_line(repr(rgb), 60)} must be three numbers in [0, 1].")
    return jnp.asarray(array)


def _real(value: Any, name: str, legal: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except Exception as error:  # ragged lists, what is traced
        raise TypeError(f"{name}={one_line(repr(value), 60)} {legal}.") from error
    if not (np.issubdtype(array.dtype, np.integer) or jnp.issubdtype(array.dtype, jnp.floating)):
        raise TypeError(f"{name}={one_line(repr(value), 60)} {legal}.")
    return array.astype(np.float32)
