"""The classes: families with some of their ranges narrowed."""

import dataclasses
from collections.abc import Iterator, Mapping

from jaxlens.data.synthetic._families import FAMILIES
from jaxlens.data.synthetic._shapes import SHAPES, TEXTURES
from jaxlens.data.synthetic._strokes import LETTERS

Range = tuple[float, float]

SPREAD = 17.0  # degrees on either side of a class's orientation: classes 45 apart have a gap of 11
TIGHT, WIDE = (4.5, 8.0), (13.0, 22.0)  # radii of curves in pixels
# Hues in degrees. Pairs are those of the cones' opponent channels.
RED, GREEN, BLUE, YELLOW = (-15.0, 15.0), (105.0, 150.0), (215.0, 250.0), (48.0, 66.0)


@dataclasses.dataclass(frozen=True)
class Class:
    """A label: pictures of one family, with its parameters in these ranges."""

    name: str
    family: str
    ranges: Mapping[str, Range]


def _around(angle: float) -> Range:
    return (angle - SPREAD, angle + SPREAD)


def _exactly(number: float) -> Range:
    return (number, number)


def _classes() -> Iterator[Class]:
    def one(name: str, family: str, **ranges: Range) -> Class:
        return Class(name, family, dict(FAMILIES[family].ranges) | ranges)

    for family in ("bar", "grating"):
        for angle in (0, 45, 90, 135):
            yield one(f"{family}-{angle}", family, orientation=_around(angle))
    for size, radius in (("tight", TIGHT), ("wide", WIDE)):
        for angle in range(0, 360, 45):
            extent = (150.0, 200.0) if size == "tight" else (80.0, 140.0)
            yield one(f"curve-{size}-{angle}", "curve", orientation=_around(angle), radius=radius, extent=extent)
    for angle in (0, 90, 180, 270):
        yield one(f"corner-{angle}", "corner", orientation=_around(angle))
    for angle in (0, 90, 180, 270):
        yield one(f"high-low-{angle}", "high_low", orientation=_around(angle))
    for name, hand in (("left", 1.0), ("right", -1.0)):
        yield one(f"spiral-{name}", "spiral", hand=_exactly(hand))
    for family in ("line_ending", "crossing", "circle", "rings", "checker", "dots", "grid", "bricks", "hexagons", "scales"):
        yield one(family.replace("_", "-"), family)
    for family in ("fur", "hue_gradient", "light_gradient"):
        yield one(family.replace("_", "-"), family)
    yield one("red-beside-green", "contrast", hue1=RED, hue2=GREEN)
    yield one("blue-beside-yellow", "contrast", hue1=BLUE, hue2=YELLOW)
    pairs = {"red-on-green": (RED, GREEN), "green-on-red": (GREEN, RED)}
    pairs |= {"blue-on-yellow": (BLUE, YELLOW), "yellow-on-blue": (YELLOW, BLUE)}
    for name, (inner, outer) in pairs.items():
        yield one(name, "spot", hue1=inner, hue2=outer)
    for i, shape in enumerate(SHAPES):
        for j, texture in enumerate(TEXTURES):
            yield one(f"{shape}-with-{texture}", "object", shape=_exactly(i), texture=_exactly(j))
    for i, letter in enumerate(LETTERS):
        yield one(f"letter-{letter}", "letter", letter=_exactly(i))


KINDS: tuple[Class, ...] = tuple(_classes())
CLASSES: tuple[str, ...] = tuple(kind.name for kind in KINDS)
