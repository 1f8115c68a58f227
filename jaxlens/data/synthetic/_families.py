"""Families of pictures: each has one drawing function and its parameters' ranges."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlens.data.synthetic import _patterns, _shapes, _strokes
from jaxlens.data.synthetic._plane import Map, Number, Point, choose, hue, inside, length

LATTICE = 32  # side of the random lattices that noise is made from
SIDE = 64  # pixels: lengths are given for pictures whose shorter side is that long

# Parameters that grow with the picture; the others are angles, counts and ratios.
LENGTHS = frozenset({"x", "y", "width", "radius", "wavelength", "arm", "height", "high", "low"})

ANY, HALF = (0.0, 360.0), (0.0, 180.0)  # orientations of figures with a front, and of those without
WIDTH = (1.6, 4.0)

Colour = Float[Array, "3"]


@dataclasses.dataclass(frozen=True)
class Family:
    """One kind of picture.

    Attributes:
        draw: `(point, lattice, **parameters)` to ink, `[H, W]` in [0, 1]: 1 is foreground and 0
            background.
        ranges: the range of each parameter; classes narrow them.
        wander: how far from the middle the origin may lie, in x and in y.
        cover: for objects, how much of each pixel the object takes; the ink is then its texture.
        colours: parameters to foreground and background, where the colors matter.
    """

    draw: Callable[..., Map]
    ranges: Mapping[str, tuple[float, float]]
    wander: float = 10.0
    cover: Callable[..., Map] | None = None
    colours: Callable[..., tuple[Colour, Colour]] | None = None


def _plain(draw: Callable[..., Map]) -> Callable[..., Map]:
    """Return a drawing that needs no random lattice."""
    return lambda point, lattice, **params: draw(point, **params)


def _family(draw: Callable[..., Map], wander: float = 10.0, **ranges: tuple[float, float]) -> Family:
    return Family(_plain(draw), MappingProxyType(ranges), wander)


def _texture(point: Point, lattice: jax.Array, *, texture: Number, carrier: Number, wavelength: Number, **_: Number) -> Map:
    maps = [
        _patterns.grating(point, orientation=carrier, wavelength=wavelength),
        _patterns.checker(point, orientation=carrier, wavelength=wavelength),
        _patterns.dots(point, orientation=carrier, wavelength=wavelength, fill=0.55),
    ]
    return choose(texture, maps)


def _cover(point: Point, *, shape: Number, orientation: Number, radius: Number, **_: Number) -> Map:
    return _shapes.shape(point, shape=shape, orientation=orientation, radius=radius)


def _edge(point: Point, lattice: jax.Array, *, orientation: Number, **_: Number) -> Map:
    return _patterns.edge(point, orientation=orientation)


def _spot(point: Point, lattice: jax.Array, *, radius: Number, **_: Number) -> Map:
    return inside(length(*point) - radius)


def _ramp(point: Point, lattice: jax.Array, *, orientation: Number, wavelength: Number, **_: Number) -> Map:
    return _patterns.ramp(point, orientation=orientation, wavelength=wavelength)


def _two_hues(*, hue1: Number, hue2: Number, saturation: Number, value: Number, **_: Number) -> tuple[Colour, Colour]:
    one, two = (value * (1 - saturation + saturation * hue(h)) for h in (hue1, hue2))
    return one, two


def _two_greys(*, dark: Number, light: Number, **_: Number) -> tuple[Colour, Colour]:
    return jnp.full(3, light), jnp.full(3, dark)


_HUES = {"hue1": ANY, "hue2": ANY, "saturation": (0.6, 1.0), "value": (0.6, 1.0)}

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "bar": _family(_strokes.bar, orientation=HALF, width=WIDTH),
        "line_ending": _family(_strokes.line_ending, orientation=ANY, width=(2.0, 5.0)),
        "crossing": _family(_strokes.crossing, orientation=HALF, opening=(60.0, 120.0), width=WIDTH),
        "corner": _family(_strokes.corner, orientation=ANY, opening=(60.0, 120.0), arm=(14.0, 24.0), width=WIDTH),
        "curve": _family(_strokes.curve, orientation=ANY, radius=(5.0, 22.0), extent=(80.0, 190.0), width=WIDTH),
        "circle": _family(_strokes.circle, radius=(6.0, 20.0), width=WIDTH),
        "rings": _family(_strokes.rings, wavelength=(6.0, 10.0), radius=(18.0, 30.0), width=(1.6, 3.0)),
        "spiral": _family(
            _strokes.spiral,
            orientation=ANY,
            wavelength=(6.0, 10.0),
            radius=(18.0, 30.0),
            width=(1.6, 3.0),
            hand=(-1.0, 1.0),
        ),
        "letter": _family(
            _strokes.letter,
            letter=(0.0, len(_strokes.LETTERS) - 1.0),
            orientation=(-18.0, 18.0),
            height=(20.0, 40.0),
            width=(2.0, 4.5),
        ),
        "grating": _family(_patterns.grating, orientation=HALF, wavelength=(4.5, 14.0)),
        "checker": _family(_patterns.checker, orientation=(0.0, 90.0), wavelength=(8.0, 20.0)),
        "dots": _family(_patterns.dots, orientation=(0.0, 90.0), wavelength=(7.0, 15.0), fill=(0.35, 0.6)),
        "grid": _family(_patterns.grid, orientation=(0.0, 90.0), wavelength=(8.0, 16.0), width=(1.5, 3.0)),
        "bricks": _family(_patterns.bricks, orientation=HALF, wavelength=(8.0, 14.0), width=(1.5, 2.5)),
        "hexagons": _family(_patterns.hexagons, orientation=(0.0, 60.0), wavelength=(9.0, 17.0), width=(1.5, 3.0)),
        "scales": _family(_patterns.scales, orientation=ANY, wavelength=(10.0, 20.0), width=(1.2, 2.2)),
        "fur": Family(_patterns.fur, MappingProxyType({"orientation": HALF, "wavelength": (3.5, 6.0)})),
        "high_low": _family(_patterns.high_low, orientation=ANY, carrier=HALF, high=(3.0, 4.5), low=(16.0, 28.0)),
        "contrast": Family(_edge, MappingProxyType({"orientation": ANY} | _HUES), colours=_two_hues),
        "spot": Family(_spot, MappingProxyType({"radius": (6.0, 16.0)} | _HUES), colours=_two_hues),
        "hue_gradient": Family(
            _ramp, MappingProxyType({"orientation": ANY, "wavelength": (40.0, 80.0)} | _HUES), colours=_two_hues
        ),
        "light_gradient": Family(
            _ramp,
            MappingProxyType({"orientation": ANY, "wavelength": (40.0, 80.0), "dark": (0.05, 0.3), "light": (0.7, 0.95)}),
            colours=_two_greys,
        ),
        "object": Family(
            _texture,
            MappingProxyType(
                {
                    "shape": (0.0, len(_shapes.SHAPES) - 1.0),
                    "texture": (0.0, len(_shapes.TEXTURES) - 1.0),
                    "orientation": ANY,
                    "radius": (14.0, 22.0),
                    "carrier": HALF,
                    "wavelength": (5.0, 9.0),
                }
            ),
            wander=8.0,
            cover=_cover,
        ),
    }
)
