"""The picture plane: coordinates in pixels, angles in degrees, edges one soft pixel wide.

The origin is the middle of the picture, x points right and y up, so that angles turn
counter-clockwise as on paper. Everything is a function of two coordinate maps and a few numbers:
it works under `vmap`, `jit` and `grad`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# A number of a picture: an array of no axes, or a Python float.
Number = Float[Array, ""] | float
Map = Float[Array, "h w"]
Point = tuple[Map, Map]


def plane(height: int, width: int) -> Point:
    """Coordinates of the pixels' centers."""
    x = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2
    y = (height - 1) / 2 - jnp.arange(height, dtype=jnp.float32)
    return jnp.broadcast_to(x, (height, width)), jnp.broadcast_to(y[:, None], (height, width))


def direction(angle: Number) -> tuple[Number, Number]:
    """The unit vector at an angle in degrees."""
    radians = jnp.deg2rad(angle)
    return jnp.cos(radians), jnp.sin(radians)


def turned(point: Point, angle: Number) -> Point:
    """Coordinates in a frame that is turned by `angle`: its x axis points there."""
    (x, y), (c, s) = point, direction(angle)
    return c * x + s * y, c * y - s * x


def length(x: Array, y: Array) -> Array:
    """Euclidean length, with a finite gradient at zero."""
    return jnp.sqrt(x * x + y * y + 1e-6)


def inside(distance: Map) -> Map:
    """How much of each pixel a region covers, from its signed distance (negative inside)."""
    return jnp.clip(0.5 - distance, 0, 1)


def line(distance: Map, width: Number) -> Map:
    """A line of a width, from the distance to its middle."""
    return inside(jnp.abs(distance) - width / 2)


def square_wave(position: Map, wavelength: Number) -> Map:
    """Stripes along a coordinate: 0 and 1, half a wavelength each."""
    phase = 2 * jnp.pi * position / wavelength
    return 0.5 + 0.5 * jnp.clip(jnp.sin(phase) * wavelength / jnp.pi, -1, 1)


def centred(position: Map, period: Number) -> Map:
    """Position within its cell of a lattice, from the cell's middle: in -period/2..period/2."""
    return position - period * jnp.round(position / period)


def segment(point: Point, ax: Number, ay: Number, bx: Number, by: Number) -> Map:
    """Distance to the straight line between two points."""
    x, y = point
    dx, dy = bx - ax, by - ay
    t = jnp.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + 1e-6), 0, 1)
    return length(x - ax - t * dx, y - ay - t * dy)


def noise(lattice: Float[Array, "n n"], point: Point, scale: Number) -> Map:
    """A smooth random map: random values on a lattice of `scale` pixels, smoothly joined."""
    n = lattice.shape[0]
    x, y = point[0] / scale + n / 2, point[1] / scale + n / 2
    fx, fy = jnp.floor(x), jnp.floor(y)
    i, j = fy.astype(jnp.int32) % n, fx.astype(jnp.int32) % n
    u, v = (t * t * (3 - 2 * t) for t in (x - fx, y - fy))
    # Blend along rows, then between them.
    low = lattice[i, j] * (1 - u) + lattice[i, (j + 1) % n] * u
    high = lattice[(i + 1) % n, j] * (1 - u) + lattice[(i + 1) % n, (j + 1) % n] * u
    return low * (1 - v) + high * v


def hue(angle: Number) -> Float[Array, "3"]:
    """A saturated color: 0 red, 60 yellow, 120 green, 180 cyan, 240 blue, 300 magenta."""
    places = jnp.asarray(angle, jnp.float32)[None] / 60 + jnp.asarray([5.0, 3.0, 1.0], jnp.float32)
    k = places % 6
    return 1 - jnp.clip(jnp.minimum(k, 4 - k), 0, 1)


def choose(index: Number, maps: list[jax.Array]) -> jax.Array:
    """The map of that number."""
    return jnp.stack(maps)[jnp.asarray(index).astype(jnp.int32)]
