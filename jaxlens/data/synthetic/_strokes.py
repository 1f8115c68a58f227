"""Lines: bars, ends, corners, crossings, curves, circles, spirals, letters.

Each function gives how much of each pixel is ink, `[H, W]` in [0, 1]. Lengths are in pixels,
angles in degrees counter-clockwise from the x axis.
"""

import jax.numpy as jnp
import numpy as np

from jaxlens.data.synthetic._plane import Map, Number, Point, direction, inside, length, line, segment, turned


def bar(point: Point, *, orientation: Number, width: Number) -> Map:
    """A straight line through the picture; orientation 0 is horizontal, 90 vertical."""
    _, across = turned(point, orientation)
    return line(across, width)


def line_ending(point: Point, *, orientation: Number, width: Number) -> Map:
    """A line that ends in the origin and comes from where `orientation` points to."""
    along, across = turned(point, orientation)
    return line(across, width) * inside(-along)


def crossing(point: Point, *, orientation: Number, opening: Number, width: Number) -> Map:
    """Two lines that cross in the origin under the angle `opening`, halved by `orientation`."""
    one = bar(point, orientation=orientation - opening / 2, width=width)
    return jnp.maximum(one, bar(point, orientation=orientation + opening / 2, width=width))


def corner(point: Point, *, orientation: Number, opening: Number, arm: Number, width: Number) -> Map:
    """Two arms that meet in the origin and open towards `orientation`."""
    arms = [direction(orientation + side * opening / 2) for side in (-1, 1)]
    return line(jnp.minimum(*(segment(point, 0.0, 0.0, arm * c, arm * s) for c, s in arms)), width)


def curve(point: Point, *, orientation: Number, radius: Number, extent: Number, width: Number) -> Map:
    """An arc whose middle is the origin.

    `orientation` is the direction from the center of curvature to the middle of the arc: 90 is an
    arch, 270 a bowl. `extent` is the angle that the arc spans.
    """
    x, y = turned(point, orientation)
    x = x + radius
    half = jnp.deg2rad(extent / 2)
    ring = jnp.abs(length(x, y) - radius)
    ends = length(x - radius * jnp.cos(half), jnp.abs(y) - radius * jnp.sin(half))
    return line(jnp.where(jnp.abs(jnp.arctan2(y, x)) <= half, ring, ends), width)


def circle(point: Point, *, radius: Number, width: Number) -> Map:
    """A ring."""
    return line(length(*point) - radius, width)


def rings(point: Point, *, wavelength: Number, radius: Number, width: Number) -> Map:
    """Rings within rings, `wavelength` apart, out to `radius`."""
    r = length(*point)
    return line(r - wavelength * jnp.maximum(jnp.round(r / wavelength), 1), width) * inside(r - radius)


def spiral(point: Point, *, orientation: Number, wavelength: Number, radius: Number, width: Number, hand: Number) -> Map:
    """Archimedes' spiral, its turns `wavelength` apart.

    `hand` 1 winds outward counter-clockwise, -1 clockwise.
    """
    x, y = turned(point, orientation)
    r = length(x, y)
    turns = r / wavelength - hand * jnp.arctan2(y, x) / (2 * jnp.pi)
    # no line through the very middle, where the distance between turns means nothing
    off = jnp.where(r > wavelength / 3, wavelength * (turns - jnp.round(turns)), wavelength)
    return line(off, width) * inside(r - radius)


# Strokes of each letter in a square from -1 to 1: start and end.
LETTERS = {
    "A": [(-0.8, -1, 0, 1), (0, 1, 0.8, -1), (-0.5, -0.2, 0.5, -0.2)],
    "E": [(-0.6, -1, -0.6, 1), (-0.6, 1, 0.7, 1), (-0.6, 0, 0.5, 0), (-0.6, -1, 0.7, -1)],
    "H": [(-0.7, -1, -0.7, 1), (0.7, -1, 0.7, 1), (-0.7, 0, 0.7, 0)],
    "K": [(-0.6, -1, -0.6, 1), (-0.6, -0.1, 0.7, 1), (-0.2, 0.2, 0.7, -1)],
    "M": [(-0.8, -1, -0.8, 1), (-0.8, 1, 0, -0.2), (0, -0.2, 0.8, 1), (0.8, 1, 0.8, -1)],
    "Z": [(-0.7, 1, 0.7, 1), (0.7, 1, -0.7, -1), (-0.7, -1, 0.7, -1)],
}
_MOST = max(map(len, LETTERS.values()))
# a letter with fewer strokes repeats its last
_STROKES = np.array([strokes + strokes[-1:] * (_MOST - len(strokes)) for strokes in LETTERS.values()], np.float32)


def letter(point: Point, *, letter: Number, orientation: Number, height: Number, width: Number) -> Map:
    """A capital: `letter` is its place in `LETTERS`; upright at orientation 0."""
    point = turned(point, orientation)
    strokes = jnp.asarray(_STROKES)[jnp.asarray(letter).astype(jnp.int32)] * height / 2
    return line(jnp.min(jnp.stack([segment(point, *strokes[i]) for i in range(_MOST)]), 0), width)
