"""Patterns that fill a picture: gratings, lattices, bricks, scales, fur, boundaries.

Each function gives a map `[H, W]` in [0, 1] that blends two colors. Lengths are in pixels, angles
in degrees counter-clockwise from the x axis.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens.data.synthetic._plane import Map, Number, Point, centred, inside, length, line, noise, square_wave, turned


def grating(point: Point, *, orientation: Number, wavelength: Number) -> Map:
    """Parallel stripes; orientation 0 is horizontal."""
    return square_wave(turned(point, orientation)[1], wavelength)


def checker(point: Point, *, orientation: Number, wavelength: Number) -> Map:
    """Squares in turn, each half a wavelength wide."""
    x, y = (2 * square_wave(axis, wavelength) - 1 for axis in turned(point, orientation))
    return 0.5 + 0.5 * x * y


def dots(point: Point, *, orientation: Number, wavelength: Number, fill: Number) -> Map:
    """Discs on a square lattice; `fill` is their diameter in wavelengths."""
    x, y = (centred(axis, wavelength) for axis in turned(point, orientation))
    return inside(length(x, y) - fill * wavelength / 2)


def grid(point: Point, *, orientation: Number, wavelength: Number, width: Number) -> Map:
    """Lines that cross at right angles."""
    x, y = (jnp.abs(centred(axis, wavelength)) for axis in turned(point, orientation))
    return line(jnp.minimum(x, y), width)


def bricks(point: Point, *, orientation: Number, wavelength: Number, width: Number) -> Map:
    """Bricks twice as long as high, each row shifted by half a brick; the joints are 1."""
    x, y = turned(point, orientation)
    row = jnp.floor(y / wavelength)
    x = x + wavelength * (row % 2)
    end = jnp.abs(centred(x, 2 * wavelength))
    return line(jnp.minimum(end, jnp.abs(centred(y, wavelength))), width)


def hexagons(point: Point, *, orientation: Number, wavelength: Number, width: Number) -> Map:
    """A honeycomb; the walls are 1 and the middles of neighbors `wavelength` apart."""
    point = turned(point, orientation)
    distances = []
    for shift in (0.0, 0.5):  # the middles form two rectangular lattices
        x = centred(point[0] + shift * wavelength, wavelength)
        y = centred(point[1] + shift * wavelength * 3**0.5, wavelength * 3**0.5)
        # to the walls of the hexagon around that middle: the largest of three projections
        distances.append(jnp.maximum(jnp.abs(x), jnp.abs(x) / 2 + jnp.abs(y) * 3**0.5 / 2))
    return line(wavelength / 2 - jnp.minimum(*distances), width)


def scales(point: Point, *, orientation: Number, wavelength: Number, width: Number) -> Map:
    """Overlapping round scales; their rims are 1 and they fade towards the middle."""
    x, y = turned(point, orientation)
    row = jnp.floor(y / (wavelength / 2))
    out = jnp.zeros_like(x)
    for k in (2, 1, 0):  # rows further up lie below
        middle = (row - k + 1) * wavelength / 2
        dx = centred(x + wavelength / 2 * ((row - k + 1) % 2), wavelength)
        r = length(dx, y - middle)
        scale = 0.5 * (r / (0.55 * wavelength)) ** 2
        covered = inside(r - 0.55 * wavelength)
        out = jnp.where(covered > 0, covered * scale + (1 - covered) * out, out)
        out = jnp.maximum(out, line(r - 0.55 * wavelength, width))
    return jnp.clip(out, 0, 1)


def fur(point: Point, lattice: Float[Array, "n n"], *, orientation: Number, wavelength: Number) -> Map:
    """Strokes that run about one way, with slow bends."""
    x, y = turned(point, orientation)
    bend = noise(lattice, (x, y), 24.0) * 10
    hair = noise(lattice, (x / 6, y + bend), wavelength / 2)
    return jnp.clip(0.5 + 2.2 * (hair - 0.5), 0, 1)


def high_low(point: Point, *, orientation: Number, carrier: Number, high: Number, low: Number) -> Map:
    """A boundary between a fine and a coarse grating.

    The fine side is the one that `orientation` points to; `high` and `low` are the wavelengths of
    the two sides, and `carrier` the orientation of their stripes.
    """
    along = turned(point, orientation)[0]
    across = turned(point, carrier)[1]
    fine = inside(-along)
    return fine * square_wave(across, high) + (1 - fine) * (0.5 + 0.5 * jnp.sin(2 * jnp.pi * across / low))


def edge(point: Point, *, orientation: Number) -> Map:
    """Two halves; the side that `orientation` points to is 1."""
    return inside(-turned(point, orientation)[0])


def ramp(point: Point, *, orientation: Number, wavelength: Number) -> Map:
    """A steady rise towards `orientation`, from 0 to 1 within `wavelength`."""
    return jnp.clip(0.5 + turned(point, orientation)[0] / wavelength, 0, 1)
