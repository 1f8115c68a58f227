"""A whole picture: figure, colors, background, light, something in the way, noise.

There are three programs, so that each family compiles its own figure only: `dice` draws all that
is random, `figures` draws what the class is about, and `paint` puts the picture together.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens._pytree import field, pytree
from jaxlens.data.synthetic._families import FAMILIES, LATTICE, SIDE
from jaxlens.data.synthetic._plane import Map, Point, inside, length, noise, plane

Maps = Float[Array, "n h w"]
Colours = Float[Array, "n 3"]
MOST = 8  # the most parameters of a family, its place included


@pytree
class Dice:
    """What is random about some pictures, one row each."""

    params: Float[Array, "n p"] = field()
    lattices: Float[Array, "n 3 side side"] = field()
    colours: Float[Array, "n 3 3"] = field()
    rest: Float[Array, "n 16"] = field()
    grain: Float[Array, "n h w 3"] = field()


@functools.partial(jax.jit, static_argnames="size")
def dice(keys: jax.Array, size: tuple[int, int]) -> Dice:
    """Random numbers for one picture per key."""

    def roll(key: jax.Array) -> Dice:
        numbers = jax.random.uniform(jax.random.fold_in(key, 0), (MOST + 12 + 16 + 3 * LATTICE**2,))
        params, colours, rest, lattices = jnp.split(numbers, (MOST, MOST + 12, MOST + 28))
        return Dice(
            params=params,
            colours=_palette(colours.reshape(3, 4)),
            rest=rest,
            lattices=lattices.reshape(3, LATTICE, LATTICE),
            grain=jax.random.normal(jax.random.fold_in(key, 1), (*size, 3)),
        )

    return jax.vmap(roll)(keys)


def _palette(draw: Float[Array, "3 4"]) -> Float[Array, "3 3"]:
    """Foreground, second color of an object, and background: clearly different in lightness."""
    contrast = 0.4 + 0.4 * draw[0, 0]
    middle = contrast / 2 + (1 - contrast) * draw[1, 0]
    side = jnp.where(draw[2, 0] < 0.5, -1.0, 1.0)
    # Front and back at the two ends, the second color near the middle.
    light = middle + side * contrast * jnp.array([0.5, 0.05, -0.5])
    tint = 0.5 * (draw[:, 1:] - draw[:, 1:].mean(1, keepdims=True))
    return jnp.clip(light[:, None] + tint, 0, 1)


@functools.partial(jax.jit, static_argnames=("name", "size"))
def figures(
    name: str,
    size: tuple[int, int],
    params: Mapping[str, Float[Array, " n"]],
    lattices: Float[Array, "n side side"],
    colours: Float[Array, "n 3 3"],
) -> tuple[Maps, Maps, Float[Array, "n 3 3"]]:
    """How much of each pixel the figures take, how much of that is ink, and the colors."""
    family, point = FAMILIES[name], plane(*size)

    def draw(params: Mapping[str, jax.Array], lattice: jax.Array, colours: jax.Array) -> tuple[Map, Map, jax.Array]:
        here = point[0] - params["x"], point[1] - params["y"]
        params = {key: value for key, value in params.items() if key in family.ranges}
        ink = family.draw(here, lattice, **params)
        if family.colours is not None:
            front, back = family.colours(**params)
            colours = jnp.stack([front, back, back])
        if family.cover is None:
            return ink, jnp.ones_like(ink), colours
        return family.cover(here, **params), ink, colours

    return jax.vmap(draw)(params, lattices, colours)


@jax.jit
def plain(cover: Maps, ink: Maps, colours: Float[Array, "n 3 3"]) -> Float[Array, "n h w 3"]:
    """Bare figures on a plain ground."""
    return jax.vmap(_blend)(cover, ink, colours, jnp.zeros_like(cover))


@jax.jit
def paint(cover: Maps, ink: Maps, colours: Float[Array, "n 3 3"], dice: Dice) -> Float[Array, "n h w 3"]:
    """Figures on an uneven ground, lit from one side, with noise; a blot lies on one in three."""
    point = plane(*cover.shape[1:])
    unit = min(cover.shape[1:]) / SIDE

    def one(cover: Map, ink: Map, colours: jax.Array, dice: Dice) -> jax.Array:
        u = dice.rest
        ground = 0.16 * u[0] * (noise(dice.lattices[0], point, 12 * unit) - 0.5)
        stain = 0.16 * u[1] * (noise(dice.lattices[1], point, 12 * unit) - 0.5)
        picture = _blend(cover, ink, colours, ground)
        picture = picture * _light(u[2], u[3], point)[..., None] + stain[..., None]
        blot = (_blot(u[4], u[5], u[6], point, unit) * (u[7] < 1 / 3))[..., None]
        picture = picture * (1 - blot) + blot * u[8:11].reshape(1, 1, 3)
        return jnp.clip(picture + 0.05 * u[11] * dice.grain, 0, 1)

    return jax.vmap(one)(cover, ink, colours, dice)


def _blend(cover: Map, ink: Map, colours: Float[Array, "3 3"], ground: Map) -> Float[Array, "h w 3"]:
    front, second, back = (colour.reshape(1, 1, 3) for colour in colours)
    cover, ink = cover[..., None], ink[..., None]
    return cover * (ink * front + (1 - ink) * second) + (1 - cover) * (back + ground[..., None])


def _light(turn: jax.Array, slope: jax.Array, point: Point) -> Map:
    angle, reach = 2 * jnp.pi * turn, max(point[0].shape) / 2
    return 1 + 0.25 * slope * (jnp.cos(angle) * point[0] + jnp.sin(angle) * point[1]) / reach


def _blot(turn: jax.Array, away: jax.Array, radius: jax.Array, point: Point, unit: float) -> Map:
    """A disc in one color, away from the middle, where small figures are."""
    angle, distance = 2 * jnp.pi * turn, (22 + 10 * away) * unit
    x, y = point[0] - distance * jnp.cos(angle), point[1] - distance * jnp.sin(angle)
    return inside(length(x, y) - (3 + 4 * radius) * unit)
