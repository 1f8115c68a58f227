"""Flat shapes, to be filled with a texture."""

import jax.numpy as jnp

from jaxlens.data.synthetic._plane import Map, Number, Point, choose, inside, length, turned

SHAPES = ("disc", "square", "triangle", "star")
TEXTURES = ("stripes", "checks", "spots")


def shape(point: Point, *, shape: Number, orientation: Number, radius: Number) -> Map:
    """How much of each pixel a shape covers.

    `shape` is its place in `SHAPES`, `radius` that of a disc of about its area.
    """
    point = turned(point, orientation)
    distances = [_disc(point, radius), _square(point, radius), _polygon(point, radius, 3), _star(point, radius)]
    return inside(choose(shape, distances))


def _disc(point: Point, radius: Number) -> Map:
    return length(*point) - radius


def _square(point: Point, radius: Number) -> Map:
    return jnp.maximum(jnp.abs(point[0]), jnp.abs(point[1])) - 0.9 * radius


def _polygon(point: Point, radius: Number, sides: int) -> Map:
    # distance to the side whose sector the point lies in
    sector = 2 * jnp.pi / sides
    angle = jnp.arctan2(point[1], point[0] + 1e-6)
    angle = angle - sector * jnp.round(angle / sector)
    return length(*point) * jnp.cos(angle) - 0.72 * radius


def _star(point: Point, radius: Number) -> Map:
    # five points; a side runs from an outer to an inner corner
    sector = 2 * jnp.pi / 5
    angle = jnp.arctan2(point[1], point[0] + 1e-6)
    angle = jnp.abs(angle - sector * jnp.round(angle / sector))
    r = length(*point)
    x, y = r * jnp.cos(angle), r * jnp.sin(angle)
    outer, inner = 1.45 * radius, 0.62 * radius
    dx, dy = inner * jnp.cos(sector / 2) - outer, inner * jnp.sin(sector / 2)
    return (dy * (x - outer) - dx * y) / length(dx, dy)
