"""One attribution map as a panel: scaled and colored, alone, on its image or through it."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxlens._checks import check_choice, check_flag, check_number, shortened
from jaxlens.data import to_uint8
from jaxlens.plot._grid import INK, PAPER
from jaxlens.plot._types import Colormap

VIEWS = ("heat_map", "blended", "masked", "alpha", "original")
SIGNS = {
    "all": lambda v: v,
    "positive": lambda v: np.maximum(v, 0),
    "negative": lambda v: np.maximum(-v, 0),
    "absolute": np.abs,
}

# Colors at equal distances, from the lowest value to the highest: 0 is white in all of them.
_BLUES = ((1.0, 1.0, 1.0), (0.3, 0.55, 0.85), (0.05, 0.15, 0.4))
_REDS = ((1.0, 1.0, 1.0), (0.9, 0.4, 0.3), (0.4, 0.0, 0.1))
_PURPLES = ((1.0, 1.0, 1.0), (0.55, 0.45, 0.75), (0.2, 0.0, 0.3))
COLORS = {"all": (*_BLUES[:0:-1], *_REDS), "positive": _REDS, "negative": _BLUES, "absolute": _PURPLES}


@dataclasses.dataclass(frozen=True)
class Look:
    """How maps are drawn; every choice is checked."""

    view: str
    sign: str
    outliers: float
    cmap: Colormap
    alpha: float
    colorbar: bool

    def __post_init__(self) -> None:
        check_choice(self.view, "view", VIEWS)
        check_choice(self.sign, "sign", SIGNS)
        if self.sign == "all" and self.view in ("masked", "alpha"):
            others = ", ".join(repr(sign) for sign in SIGNS if sign != "all")
            raise ValueError(f"view={self.view!r} cannot tell signs apart, but sign='all'. Choose one of {others}.")
        check_range(self.outliers, "outliers", lambda x: 0 <= x < 100, "a percentage in [0, 100)")
        check_range(self.alpha, "alpha", lambda x: 0 <= x <= 1, "in [0, 1]: 0 shows only the image, 1 only the map")
        check_flag(self.colorbar, "colorbar")
        if self.cmap is not None:
            _function(self.cmap)

    def top(self, values: np.ndarray) -> float:
        """Return the value of full color: larger ones make `outliers` percent of the sum.

        It is 0 for a map of zeros.
        """
        sizes = np.sort(np.abs(SIGNS[self.sign](values)), axis=None)
        if not (largest := sizes[-1]):
            return 0.0
        sums = np.cumsum(np.ldexp(sizes, -np.frexp(largest)[1]))  # a power of 2: no over- or underflow
        enough = np.searchsorted(sums, sums[-1] * (100 - self.outliers) / 100)
        return float(sizes[min(enough, len(sizes) - 1)])

    def panel(self, values: np.ndarray, image: np.ndarray, scale: float, zoom: int) -> np.ndarray:
        """Draw one map `[H, W]` and its image `[H, W, 3]`: uint8 `[zoom H, zoom W, 3]`.

        A color bar, if asked for, is added below.
        """
        if self.view == "original":
            return zoomed(to_uint8(image), zoom)
        shown = SIGNS[self.sign](values)
        if not shown.any():
            note = f"none {self.sign}" if values.any() else "all zero"
            return _blank(zoom * image.shape[0], zoom * image.shape[1], note)
        v = np.clip(shown / scale, -1, 1)
        if self.view == "masked":
            panel = image * v[..., None]
        elif self.view == "alpha":
            panel = image * v[..., None] + (1 - v[..., None])
        else:
            panel = self.color(v)
            if self.view == "blended":
                panel = self.alpha * panel + (1 - self.alpha) * image.mean(-1, keepdims=True)
        panel = zoomed(to_uint8(panel), zoom)
        return np.concatenate([panel, self.bar(panel.shape[1], scale)]) if self.colorbar and self.colored else panel

    @property
    def colored(self) -> bool:
        return self.view in ("heat_map", "blended")

    def color(self, v: np.ndarray) -> np.ndarray:
        """Return colors `[..., 3]` of values in [-1, 1] if the sign is "all", else in [0, 1]."""
        place = (v + 1) / 2 if self.sign == "all" else v
        if self.cmap is not None:
            return _function(self.cmap)(place)[..., :3]
        colors = np.asarray(COLORS[self.sign])
        stops = np.linspace(0, 1, len(colors))
        return np.stack([np.interp(place, stops, channel) for channel in colors.T], -1)

    def bar(self, width: int, scale: float) -> np.ndarray:
        """Draw the colors from the lowest value to the highest, with both numbers."""
        low = -scale if self.sign == "all" else 0.0
        high = -scale if self.sign == "negative" else scale
        colors = to_uint8(self.color(np.linspace(low / scale, 1, width))[None])
        gap = np.full((4, width, 3), PAPER, np.uint8)
        return np.concatenate([gap, np.repeat(colors, 6, 0), _text(f"{low:.2g}", f"{high:.2g}", width)])


def check_range(value: Any, name: str, legal: Callable[[float], bool], words: str) -> float:
    """Return a finite number for which `legal` holds, or raise an error in these words."""
    try:
        number = check_number(value, name)
    except (TypeError, ValueError):
        number = math.nan
    if not legal(number):
        raise ValueError(f"{name}={shortened(value)} must be {words}.")
    return number


def _function(cmap: Any) -> Any:
    """Return a function from floats in [0, 1] to colors."""
    if callable(cmap) and not isinstance(cmap, type):
        return cmap
    from matplotlib import colormaps  # slow to import

    if not isinstance(cmap, str) or cmap not in colormaps:
        raise ValueError(f"cmap={cmap!r} is no colormap of matplotlib, such as 'RdBu' or 'viridis', and no function.")
    return colormaps[cmap]


def zoomed(panel: np.ndarray, zoom: int) -> np.ndarray:
    """Draw every pixel as `zoom` x `zoom` pixels."""
    return panel.repeat(zoom, 0).repeat(zoom, 1)


def _font(width: int) -> Any:
    return ImageFont.load_default(size=max(7, min(13, width // 7)))


def _blank(height: int, width: int, note: str) -> np.ndarray:
    panel = Image.new("RGB", (width, height), PAPER)
    ImageDraw.Draw(panel).text((width / 2, height / 2), note, INK, _font(width), anchor="mm")
    return np.asarray(panel)


def _text(left: str, right: str, width: int) -> np.ndarray:
    """Draw a line of two texts: one starts at the left, one ends at the right."""
    font = _font(width)
    strip = Image.new("RGB", (width, math.ceil(font.getbbox("Ag")[3]) + 3), PAPER)
    draw = ImageDraw.Draw(strip)
    draw.text((0, 1), left, INK, font)
    draw.text((width, 1), right, INK, font, anchor="ra")
    return np.asarray(strip)


def lines(text: str, width: int) -> list[np.ndarray]:
    """Draw each line of a text as a strip."""
    return [_text(line, "", width) for line in text.splitlines()]
